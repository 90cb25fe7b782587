/** The driver for bentocache, by bentocache's own suite for drivers, and below a whole bentocache. */
import assert from "node:assert/strict";
import { BentoCache, bentostore } from "bentocache";
import { memoryDriver } from "bentocache/drivers/memory";
import { registerCacheDriverTestSuite } from "bentocache/test_suite";
import type { L2CacheDriver } from "bentocache/types";
import { BentocacheDriver, bentocacheDriver } from "../../lib/plugs/bentocache.ts";
import { test } from "../support/test.ts";
import { Japa, textGroup } from "./foreign-suite.ts";

const group = await textGroup();

const japa = new Japa("bentocache's suite");
type Suite = Parameters<typeof registerCacheDriverTestSuite>[0];
registerCacheDriverTestSuite({
  test: japa.test as unknown as Suite["test"],
  group: japa.group as unknown as Suite["group"],
  createDriver: ({ prefix = "japa" } = {}): L2CacheDriver => new BentocacheDriver(group, prefix),
});
test("bentocache's suite is all there", () => assert.ok(japa.count >= 20, `${japa.count} tests`));

test("what one bentocache has loaded another one finds in its second layer", async () => {
  const bentocache = () => {
    const store = bentostore().useL1Layer(memoryDriver({})).useL2Layer(bentocacheDriver(group));
    return new BentoCache({ default: "both", stores: { both: store } });
  };
  const [one, other] = [bentocache(), bentocache()];
  let loads = 0;
  const got = (cache: ReturnType<typeof bentocache>) =>
    cache.getOrSet({ key: "k", ttl: "1h", factory: () => Promise.resolve(`load ${++loads}`) });
  assert.deepEqual([await got(one), await got(other)], ["load 1", "load 1"]);
  await one.delete({ key: "k" });
  assert.equal(await got(bentocache()), "load 2");
  await one.clear();
  assert.equal(await got(bentocache()), "load 3");
});
