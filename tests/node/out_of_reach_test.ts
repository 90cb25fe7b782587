/** What a node says that the others took off the lists. */
import assert from "node:assert/strict";
import { OutOfReach } from "../../lib/node/peers/out-of-reach.ts";
import { ManualClock } from "../support/clock.ts";
import { MemoryLog } from "../support/log.ts";
import { test } from "../support/test.ts";

function made(links: { name: string; state: string }[]) {
  const clock = new ManualClock();
  const log = new MemoryLog();
  const state = { links };
  return { clock, log, state, reach: new OutOfReach({ url: "http://x:8000", links: () => state.links, clock, log }) };
}

test("a node that puts itself back names the peers without a connection to it 5 s later, in one line for all its groups", async () => {
  const links = [{ name: "b", state: "open" }, { name: "c", state: "down" }, { name: "d", state: "connecting" }];
  const { clock, log, reach } = made(links);
  reach.putBack();
  reach.putBack();
  await clock.advance(4_999);
  assert.deepEqual(log.lines, []);
  await clock.advance(1);
  assert.equal(log.lines.length, 1);
  assert.match(
    log.lines[0]!,
    /^warn I was taken off the peer lists and have no connection to c, d: .* http:\/\/x:8000 /,
  );
  reach.putBack();
  for (const link of links) link.state = "open";
  await clock.advance(5_000);
  assert.equal(log.lines.length, 1, "all have connected");
});

test("a cluster out of reach does not fill the line, and a node that stops looks no more", async () => {
  const { clock, log, reach } = made(Array.from({ length: 12 }, (_, i) => ({ name: `n${i}`, state: "down" })));
  reach.putBack();
  await clock.advance(5_000);
  assert.match(log.lines[0]!, /n9 and 2 more: /);
  reach.putBack();
  reach.stop();
  reach.putBack();
  await clock.advance(60_000);
  assert.equal(log.lines.length, 1);
  assert.equal(clock.pending, 0);
});

test("its figures name the peers without a connection since then, until they have one or are gone", async () => {
  const links = ["b", "c", "d"].map((name) => ({ name, state: "down" }));
  const { clock, state, reach } = made(links);
  assert.equal(reach.figures(), undefined, "a lost way alone: nobody took this node off a list");
  reach.putBack();
  await clock.advance(5_000);
  const since = new Date(clock.nowMs()).toISOString();
  const told = { url: "http://x:8000", since };
  assert.deepEqual(reach.figures(), { ...told, peers: ["b", "c", "d"], count: 3 });
  await clock.advance(1_000);
  reach.putBack();
  links[1]!.state = "open";
  await clock.advance(5_000);
  assert.deepEqual(reach.figures(), { ...told, peers: ["b", "d"], count: 2 });
  links[0]!.state = "open";
  state.links = [links[0]!, links[1]!, { name: "e", state: "connecting" }];
  assert.equal(reach.figures(), undefined, "d is gone, and e is new");
  links[0]!.state = "down";
  assert.equal(reach.figures(), undefined, "it was over");
});
