import assert from "node:assert/strict";
import { chmodSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { adminTokensOf, tokenDoubtsOf } from "../../lib/node/doors/admin-tokens.ts";
import { ManualClock } from "../support/clock.ts";
import { MemoryLog } from "../support/log.ts";
import { temporaryDirectory } from "../support/node.ts";
import { test } from "../support/test.ts";

const TOKEN = "a-token-of-operators";

test("a token that every user of the machine can read is a warning, which does not show it", (defer) => {
  const adminTokenFile = join(temporaryDirectory(defer), "token");
  writeFileSync(adminTokenFile, TOKEN);
  const doubtsAt = (mode: number) => {
    chmodSync(adminTokenFile, mode);
    return tokenDoubtsOf({ adminTokenFile });
  };
  for (const mode of [0o600, 0o400, 0o640]) assert.deepEqual(doubtsAt(mode), []);
  for (const mode of [0o644, 0o604]) {
    const [doubt, ...others] = doubtsAt(mode);
    assert.match(doubt ?? "", /every user of this machine can read the token in .*token: chmod o-r it$/);
    assert.doesNotMatch(doubt!, /operators/);
    assert.deepEqual(others, []);
  }
  assert.deepEqual(tokenDoubtsOf({ adminTokenFile: undefined }), []);
});

test("the file on disk is replaced while the node runs, and a file that is gone locks nobody out", async (defer) => {
  const adminTokenFile = join(temporaryDirectory(defer), "token");
  writeFileSync(adminTokenFile, `${TOKEN}\n`);
  const [clock, log] = [new ManualClock(), new MemoryLog()];
  const tokens = adminTokensOf({ adminTokenFile }, clock, log)!;
  const isIn = (token: string) => tokens.isIn(new Headers({ authorization: `Bearer ${token}` }));
  const next = "the-next-token-of-operators";
  writeFileSync(adminTokenFile, `${next}\n${TOKEN}\n`);
  await clock.advance(1_000);
  assert.deepEqual([isIn(TOKEN), isIn(next)], [true, true]);
  writeFileSync(adminTokenFile, `${next}\n`);
  await clock.advance(1_000);
  assert.deepEqual([isIn(TOKEN), isIn(next)], [false, true]);
  rmSync(adminTokenFile);
  await clock.advance(1_000);
  assert.equal(isIn(next), true);
  assert.match(log.lines.join(), /^warn cannot read the file of --admin-token-file again: ENOENT/);
  assert.equal(adminTokensOf({ adminTokenFile: undefined }, clock, log), undefined);
  assert.throws(() => adminTokensOf({ adminTokenFile }, clock, log), /ENOENT/);
});
