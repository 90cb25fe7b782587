import assert from "node:assert/strict";
import fc from "fast-check";
import { OwnShare } from "../../../lib/origins/guard/own-share.ts";
import { sharesOf } from "../../../lib/origins/guard/shares.ts";
import { ManualClock } from "../../support/clock.ts";
import { test } from "../../support/test.ts";

function shareOf() {
  const clock = new ManualClock();
  let grown = 0;
  const share = new OwnShare({ clock, graceMs: 1_000, onGrown: () => grown++ });
  return { clock, share, grown: () => grown };
}

test("a share shrinks at once, and grows after the grace period", async () => {
  const { clock, share, grown } = shareOf();
  share.set(8, true);
  assert.equal(share.now, 8);
  share.set(4);
  assert.equal(share.now, 4);
  share.set(6);
  assert.deepEqual([share.now, share.next, grown()], [4, 6, 0]);
  await clock.advance(999);
  assert.equal(share.now, 4);
  await clock.advance(1);
  assert.deepEqual([share.now, grown(), clock.pending], [6, 1, 0]);
});

test("the least of all shares within the grace period counts", async () => {
  const { clock, share } = shareOf();
  share.set(8, true);
  share.set(2);
  await clock.advance(500);
  share.set(5);
  await clock.advance(500);
  share.set(3);
  await clock.advance(100);
  share.set(8);
  assert.equal(share.now, 2);
  await clock.advance(400);
  assert.equal(share.now, 3);
  await clock.advance(600);
  assert.equal(share.now, 8);
});

test("a node that joins others has no share at first, and closing ends the wait", async () => {
  const { clock, share } = shareOf();
  share.set(2);
  assert.equal(share.now, 0);
  share.close();
  assert.equal(clock.pending, 0);
});

/**
 * A cluster in which each node learns of each roster with a delay of its own, up to 300 ms, takes all that it may, and holds
 * each slot for up to 600 ms.
 */
test("no interleaving of joins and deaths has more requests at the origin than there are slots", async () => {
  const slots = 8;
  const spreadMs = 300;
  const loadMs = 600;
  const step = fc.record({
    node: fc.nat(5),
    afterMs: fc.integer({ min: 0, max: 1_500 }),
    delays: fc.array(fc.nat(spreadMs), { minLength: 6, maxLength: 6 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 12 }), fc.integer(), async (steps, seed) => {
      const clock = new ManualClock();
      let random = seed >>> 0;
      const next = (below: number) => (random = (Math.imul(random, 1_664_525) + 1_013_904_223) >>> 0) % below;
      const alive = new Map<number, { share: OwnShare; running: number; isDead: boolean; told: number }>();
      let most = 0;
      const take = (node: { share: OwnShare; running: number; isDead: boolean }) => {
        while (!node.isDead && node.running < node.share.now) {
          node.running++;
          clock.after(1 + next(loadMs), () => {
            if (node.isDead) return;
            node.running--;
            take(node);
          });
        }
        most = Math.max(most, [...alive.values()].reduce((sum, { running }) => sum + running, 0));
      };
      for (const [revision, { node, afterMs, delays }] of steps.entries()) {
        const before = alive.get(node);
        if (before !== undefined) {
          // Killed: the system closes its connections.
          before.isDead = true;
          alive.delete(node);
        } else {
          const share: OwnShare = new OwnShare({ clock, graceMs: loadMs + spreadMs, onGrown: () => take(made) });
          const made = { share, running: 0, isDead: false, told: -1 };
          alive.set(node, made);
        }
        const names = [...alive.keys()].sort();
        const shares = sharesOf(slots, "g", names.map((name) => ({ name: String(name), weight: 1 + name % 2 })));
        for (const [name, member] of alive) {
          const isFirst = names.length === 1 && member.told === -1;
          clock.after(delays[name]!, () => {
            if (member.isDead || member.told > revision) return;
            member.told = revision;
            member.share.set(shares.get(String(name))!, isFirst);
            take(member);
          });
        }
        await clock.advance(afterMs);
      }
      await clock.advance(2 * (loadMs + spreadMs));
      const running = [...alive.values()].reduce((sum, member) => sum + member.running, 0);
      assert.equal(running, alive.size === 0 ? 0 : slots, "in the end all slots are used");
      assert.ok(most <= slots, `${most} at once`);
    }),
    { numRuns: 60 },
  );
});
