/** Definitions in NATS beside groups of the options that come and go. */
import assert from "node:assert/strict";
import type { GroupConfig } from "../../../lib/config/config.ts";
import { DefinedGroups } from "../../../lib/node/groups/defined-groups.ts";
import { MemoryLog } from "../../support/log.ts";
import { test } from "../../support/test.ts";

test("a definition that was refused for a host is followed when a reload has freed it, and is told once", () => {
  const own = new Set(["shop"]);
  const added: string[] = [];
  const log = new MemoryLog();
  const addGroup = ({ name, hosts }: GroupConfig) => {
    if (own.has("shop") && hosts.includes("a.example")) throw new TypeError("another group has the host a.example");
    added.push(name);
  };
  const defined = new DefinedGroups({
    keeper: { addGroup, changeGroup: addGroup, removeGroup: () => Promise.resolve(true) },
    isOwn: (name) => own.has(name),
    serves: () => true,
    checkOrigin: () => {},
    log,
  });
  const definition = (fields: object) => new TextEncoder().encode(JSON.stringify(fields));
  const definitions = new Map([
    ["site", definition({ origin: "http://127.0.0.1:9/*", hosts: ["a.example"] })],
    ["shop", definition({ origin: "wordnet:" })],
  ]);
  defined.update({ revision: 2, definitions });
  const refused = () => defined.figures().refused.map(({ group }) => group);
  assert.deepEqual([refused(), added, log.lines.length], [["site", "shop"], [], 2]);
  defined.ownChanged();
  assert.deepEqual([refused(), log.lines.length], [["site", "shop"], 2]);
  own.clear();
  defined.ownChanged();
  assert.deepEqual([refused(), added, defined.figures().groups], [[], ["site", "shop"], ["shop", "site"]]);
});

test("a definition that is put back as it was is refused no longer", () => {
  const keeper = { addGroup: () => {}, changeGroup: () => {}, removeGroup: () => Promise.resolve(true) };
  const log = new MemoryLog();
  const options = { keeper, isOwn: () => false, serves: () => true, checkOrigin: () => {}, log };
  const defined = new DefinedGroups(options);
  const put = (text: string, revision: number) =>
    defined.update({ revision, definitions: new Map([["g", new TextEncoder().encode(text)]]) });
  const [good, bad] = [JSON.stringify({ origin: "wordnet:" }), "no JSON"];
  put(good, 1);
  put(bad, 2);
  assert.equal(defined.figures().refused.length, 1);
  put(good, 3);
  assert.deepEqual(defined.figures(), { revision: 3, groups: ["g"], refused: [] });
});
