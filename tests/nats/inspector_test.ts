/** A look at a real NATS: it tells what is there and what a login may do, and changes nothing. */
import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { connect } from "nats";
import { UnavailableError } from "../../lib/core/errors.ts";
import { Inspector } from "../../lib/nats/inspector.ts";
import { Seal } from "../../lib/nats/seal.ts";
import { systemClock } from "../../lib/runtime/process.ts";
import { record } from "../core/cluster.ts";
import { startNats, temporaryFolder } from "../support/nats-server.ts";
import { test } from "../support/test.ts";

const USERS = `authorization { users: [
  { user: whole, password: p },
  { user: reader, password: p, permissions: { publish: { deny: ["$KV.peers.>", "peers.invalidate.>"] } } }
] }
`;

test("rights are found without a write, bad records are listed with their faults, and no bucket is made", async (defer) => {
  const file = `${await temporaryFolder(defer)}/nats.conf`;
  writeFileSync(file, USERS);
  const { port } = await startNats(defer, { extraArgs: ["-c", file] });
  const open = async (login: string, bucket = "peers") => {
    const inspector = await Inspector.open({
      urls: [`nats://${login}@127.0.0.1:${port}`],
      login: {},
      bucket,
      seal: new Seal(),
      clock: systemClock,
      signal: new AbortController().signal,
      timeoutMs: 2_000,
    });
    defer(() => inspector.close());
    return inspector;
  };
  const admin = await connect({ servers: `127.0.0.1:${port}`, user: "whole", pass: "p" });
  defer(() => admin.close());
  const manager = await admin.jetstreamManager();
  const whole = await open("whole:p");
  assert.deepEqual([...(await whole.streams()).keys()], []);
  await assert.rejects(
    whole.listed(),
    (error: unknown) => error instanceof UnavailableError && /no bucket peers/.test(error.message),
  );
  assert.deepEqual(await manager.streams.names().next(), [], "looking has made none");

  const kv = await admin.jetstream().views.kv("peers");
  await manager.streams.add({ name: "peers-invalidations", subjects: ["peers.invalidate.>"] });
  await kv.put("dict.a", JSON.stringify(record("a")));
  await kv.put("dict.b", "no record");
  await kv.put("dict.c", JSON.stringify(record("c")));
  await kv.delete("dict.c");
  assert.deepEqual(await whole.mayWrite("dict", "me"), { peers: "yes", invalidations: "yes" });
  assert.deepEqual(await (await open("reader:p")).mayWrite("dict", "me"), { peers: "no", invalidations: "no" });
  const streams = await whole.streams();
  assert.deepEqual([...streams.keys()], ["peers", "invalidations"]);
  const [peers, invalidations] = streams.values();
  assert.deepEqual([peers!.messages, invalidations!.messages, peers!.replicas, peers!.isOnDisk], [3, 0, 1, true]);
  assert.ok(Math.abs(peers!.clockAheadMs!) < 1_000, "one machine has one clock");
  const listed = await whole.listed();
  assert.deepEqual(listed.map(({ group, name, revision, fault }) => [group, name, revision, fault]), [
    ["dict", "a", 1, undefined],
    ["dict", "b", 2, "not JSON in UTF-8"],
  ]);
  assert.equal(listed[0]!.record!.url, "http://a");
  await assert.rejects(open("whole:wrong"), /refuses the login/);
});
