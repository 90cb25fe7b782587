import assert from "node:assert/strict";
import { connect } from "nats";
import { NatsBucket } from "../../lib/nats/bucket.ts";
import { Collection } from "../../lib/nats/collection.ts";
import { systemClock } from "../../lib/runtime/process.ts";
import { startNats } from "../support/nats-server.ts";
import { test } from "../support/test.ts";
import { until } from "../support/until.ts";

const bytes = (text: string) => new TextEncoder().encode(text);

/** What it holds, in words that can be compared. */
function held({ entries, revision, epoch }: Collection) {
  const told = [...entries].map(([key, { value, revision }]) =>
    `${key} ${revision} ${value === undefined ? "deleted" : new TextDecoder().decode(value)}`
  );
  return { told: told.sort(), revision, epoch };
}

test("a collection that asks for one change after the other holds what one that watches does", async (defer) => {
  const { url } = await startNats(defer);
  const connection = await connect({ servers: url });
  defer(() => connection.close());
  const bucket = await NatsBucket.open(connection, { bucket: "peers", replicas: 1, requestTimeoutMs: 2_000 });
  const first = await bucket.put("dict.a", bytes("a1"), 0);
  await bucket.put("dict.b", bytes("b1"), 0);
  await bucket.put("other.c", bytes("c1"), 0);
  await bucket.put("dict.a", bytes("a2"), first);
  let changes = 0;
  const both = [true, false].map((isPolled) =>
    new Collection({ group: "dict", bucket, clock: systemClock, isPolled, onChange: () => isPolled && changes++ })
  ) as [Collection, Collection];
  defer(() => both.forEach((one) => one.stop()));
  const same = (told: string[]) => {
    const [polled, watched] = both.map(held);
    assert.deepEqual(polled, watched);
    assert.deepEqual(polled!.told, told);
  };
  await Promise.all(both.map((one) => one.whole));
  same(["dict.a 4 a2", "dict.b 2 b1"]);

  await bucket.delete("dict.b", 2);
  const last = await bucket.put("dict.d", bytes("d1"), 0);
  await until(
    () => both.every(({ revision }) => revision === last),
    5_000,
    () => JSON.stringify(both.map(held)),
  );
  same(["dict.a 4 a2", "dict.b 5 deleted", "dict.d 6 d1"]);
  assert.equal(changes, 2);

  both[0].stop();
  await both[0].ended;
});

/** nats-server says of a change that another follows when that one has been overwritten since, so that none does. */
test(
  "what comes last is told, whatever the server says of what is on its way",
  { timeoutMs: 60_000 },
  async (defer) => {
    const { url } = await startNats(defer);
    const connection = await connect({ servers: url });
    defer(() => connection.close());
    const bucket = await NatsBucket.open(connection, { bucket: "peers", replicas: 1, requestTimeoutMs: 2_000 });
    const open = (onChange: () => void) => {
      const collection = new Collection({ group: "dict", bucket, clock: systemClock, isPolled: false, onChange });
      defer(() => collection.stop());
      return collection;
    };
    let [lastRevision, toldRevision] = [0, 0];
    const watching: Collection = open(() => toldRevision = watching.revision);
    await watching.whole;
    for (let round = 0; round < 300; round++) {
      const key = `dict.${round % 3}`;
      const { revision } = await bucket.read(key);
      // In one go, each on top of the one before: a node that joins, drains and leaves.
      const serving = lastRevision + 1;
      await Promise.all([
        bucket.put(key, bytes("serving"), revision),
        bucket.put(key, bytes("draining"), serving),
        bucket.delete(key, serving + 1),
      ]);
      const last = lastRevision += 3;
      await until(() => toldRevision === last, 3_000, () => `round ${round}: told of ${toldRevision}, not of ${last}`);
      if (round % 30 === 0) await open(() => {}).whole;
    }
  },
);

test("a collection that asks is whole where there is nothing, and ends when it cannot ask any more", async (defer) => {
  const { url } = await startNats(defer);
  const connection = await connect({ servers: url });
  const bucket = await NatsBucket.open(connection, { bucket: "peers", replicas: 1, requestTimeoutMs: 2_000 });
  const polled = new Collection({ group: "dict", bucket, clock: systemClock, isPolled: true, onChange() {} });
  await polled.whole;
  assert.deepEqual(held(polled).told, []);
  await connection.close();
  await polled.ended;
});
