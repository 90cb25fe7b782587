/** The parts of a release that write and read what travels: of this checkout, or of another one on disk. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

/** Where each part stands; where it has moved, the places of all releases that are compared, the newest first. */
const PLACES = {
  definition: ["lib/config/definition.ts"],
  groupFields: ["lib/config/group-fields.ts"],
  hash: ["lib/core/base/hash.ts"],
  variantKey: ["lib/core/base/variant-key.ts"],
  invalidation: ["lib/core/invalidation/message.ts"],
  rendezvous: ["lib/core/placement/rendezvous.ts"],
  value: ["lib/core/value.ts"],
  groupcache: ["lib/http/cache/groupcache.ts"],
  seal: ["lib/nats/seal.ts"],
  policy: ["lib/node/groups/policy-digest.ts", "lib/node/policy-digest.ts"],
  ownGroups: ["lib/peer/own-groups.ts"],
  proof: ["lib/peer/proof/fields.ts"],
  keys: ["lib/peer/proof/keys.ts"],
  frames: ["lib/peer/wire/frames.ts"],
  greeting: ["lib/peer/wire/greeting.ts"],
  reader: ["lib/peer/wire/reader.ts"],
  writer: ["lib/peer/wire/writer.ts"],
  record: ["lib/registry/record.ts"],
} as const;

/** The parts, as this checkout types them. */
export interface Modules {
  readonly definition: typeof import("../../lib/config/definition.ts");
  readonly groupFields: typeof import("../../lib/config/group-fields.ts");
  readonly hash: typeof import("../../lib/core/base/hash.ts");
  readonly variantKey: typeof import("../../lib/core/base/variant-key.ts");
  readonly invalidation: typeof import("../../lib/core/invalidation/message.ts");
  readonly rendezvous: typeof import("../../lib/core/placement/rendezvous.ts");
  readonly value: typeof import("../../lib/core/value.ts");
  readonly groupcache: typeof import("../../lib/http/cache/groupcache.ts");
  readonly seal: typeof import("../../lib/nats/seal.ts");
  readonly policy: typeof import("../../lib/node/groups/policy-digest.ts");
  readonly ownGroups: typeof import("../../lib/peer/own-groups.ts");
  readonly proof: typeof import("../../lib/peer/proof/fields.ts");
  readonly keys: typeof import("../../lib/peer/proof/keys.ts");
  readonly frames: typeof import("../../lib/peer/wire/frames.ts");
  readonly greeting: typeof import("../../lib/peer/wire/greeting.ts");
  readonly reader: typeof import("../../lib/peer/wire/reader.ts");
  readonly writer: typeof import("../../lib/peer/wire/writer.ts");
  readonly record: typeof import("../../lib/registry/record.ts");
}

/** @param folder the root of a checkout, with its packages */
export async function modulesOf(folder: string): Promise<Modules> {
  const parts = Object.entries(PLACES).map(async ([part, places]) => {
    const path = places.map((place) => join(folder, place)).find((place) => existsSync(place));
    if (path === undefined) throw new Error(`Cannot find ${part} in ${folder}: it is not at ${places.join(", ")}`);
    return [part, await import(pathToFileURL(path).href)] as const;
  });
  return Object.fromEntries(await Promise.all(parts)) as unknown as Modules;
}
