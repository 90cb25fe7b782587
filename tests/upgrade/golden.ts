/**
 * The golden bytes: what the release before writes, and what it reads from them.
 *
 * `bun run tests/upgrade/golden.ts` builds that release from git, and writes golden.json.
 */
import { Buffer } from "node:buffer";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { buildReleaseBefore, RELEASE_BEFORE } from "../support/release-before.ts";
import { type Modules, modulesOf } from "./modules.ts";
import { type Kind, type Read, readSample, type Sample, samplesOf } from "./samples.ts";

export interface Golden {
  /** The commit that wrote the bytes. */
  readonly commit: string;
  readonly samples: Readonly<Record<string, { readonly kind: Kind; readonly base64: string; readonly read: Read }>>;
}

const file = join(import.meta.dirname!, "golden.json");

export function readGolden(): Golden {
  return JSON.parse(readFileSync(file, "utf8"));
}

export function sampleOf({ kind, base64 }: Golden["samples"][string]): Sample {
  return { kind, bytes: new Uint8Array(Buffer.from(base64, "base64")) };
}

/** What the release with these parts writes and reads. */
export async function goldenOf(modules: Modules, commit: string): Promise<Golden> {
  const samples = Object.entries(await samplesOf(modules)).map(async ([name, sample]) => {
    const base64 = Buffer.from(sample.bytes).toString("base64");
    return [name, { kind: sample.kind, base64, read: await readSample(modules, sample, modules.frames.PROTOCOL) }];
  });
  return { commit, samples: Object.fromEntries(await Promise.all(samples)) };
}

if (import.meta.main) {
  const undos: (() => unknown)[] = [];
  try {
    const { root } = buildReleaseBefore((undo) => undos.push(undo));
    writeFileSync(file, `${JSON.stringify(await goldenOf(await modulesOf(root), RELEASE_BEFORE), undefined, 2)}\n`);
  } finally {
    for (const undo of undos.reverse()) await undo();
  }
}
