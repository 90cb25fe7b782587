/** What nodes of this release and of the one before write for each other, byte by byte. */
import assert from "node:assert/strict";
import { root } from "../support/node.ts";
import { buildReleaseBefore, RELEASE_BEFORE, testWithReleaseBefore } from "../support/release-before.ts";
import { test } from "../support/test.ts";
import { goldenOf, readGolden, sampleOf } from "./golden.ts";
import { modulesOf } from "./modules.ts";
import { covers, type Read, readSample, type Sample, samplesOf } from "./samples.ts";

function assertCovers(read: Read, expected: Read, name: string): void {
  // The comparison of all shows where they differ.
  if (!covers(read, expected)) assert.deepEqual(read, expected, name);
}

test("this release reads all that the one before has written as that release meant it", async () => {
  const modules = await modulesOf(root);
  const { commit, samples } = readGolden();
  assert.equal(commit, RELEASE_BEFORE, "the golden bytes are of another release: bun run tests/upgrade/golden.ts");
  for (const [name, sample] of Object.entries(samples)) {
    assertCovers(await readSample(modules, sampleOf(sample), modules.frames.PROTOCOL), sample.read, name);
  }
});

testWithReleaseBefore("the golden bytes are those that the release before writes", {}, async (defer) => {
  const { root } = buildReleaseBefore(defer);
  assert.deepEqual(readGolden(), await goldenOf(await modulesOf(root), RELEASE_BEFORE));
});

testWithReleaseBefore(
  "the release before reads all that this one writes as this release means it",
  {},
  async (defer) => {
    const [now, before] = await Promise.all([modulesOf(root), modulesOf(buildReleaseBefore(defer).root)]);
    const own = before.frames.PROTOCOL;
    for (const [name, sample] of Object.entries(await samplesOf(now))) {
      const read = await readSample(before, sample, own);
      // Two readers may also agree that the two speak no version in common.
      if (sample.kind === "hello") assert.equal((read as { version?: unknown }).version, own.max, name);
      assertCovers(await readSample(now, sample, own), read, name);
    }
  },
);

test("the comparison sees a sample that is cut, and one of which a byte is another one", async () => {
  const modules = await modulesOf(root);
  for (const [name, golden] of Object.entries(readGolden().samples)) {
    const { kind, bytes } = sampleOf(golden);
    assert.ok(await isSeen(modules, { kind, bytes: bytes.slice(0, -1) }, golden.read), `${name}, cut`);
    let seen = 0;
    for (let at = 0; at < Math.min(bytes.length, 64); at++) {
      const changed = bytes.slice();
      changed[at]! ^= 1;
      if (await isSeen(modules, { kind, bytes: changed }, golden.read)) seen++;
    }
    assert.ok(seen > 0, name);
  }
});

async function isSeen(modules: Awaited<ReturnType<typeof modulesOf>>, sample: Sample, expected: Read) {
  try {
    return !covers(await readSample(modules, sample, modules.frames.PROTOCOL), expected);
  } catch {
    return true;
  }
}
