import assert from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import type { FromWorker, ToWorker } from "../../lib/workers/messages.ts";
import { Supervisor, type WorkerProcess } from "../../lib/workers/supervisor.ts";
import { ManualClock, settle } from "../support/clock.ts";
import { MemoryLog } from "../support/log.ts";
import { test } from "../support/test.ts";

/** A worker of the test's making. */
class FakeWorker implements WorkerProcess {
  static #lastPid = 0;
  readonly pid = ++FakeWorker.#lastPid;
  readonly name: string;
  readonly say: (message: FromWorker) => void;
  readonly heard: ToWorker[] = [];
  readonly #exit = Promise.withResolvers<number>();
  isKilled = false;

  constructor(name: string, say: (message: FromWorker) => void) {
    this.name = name;
    this.say = say;
  }

  get exited(): Promise<number> {
    return this.#exit.promise;
  }

  send(message: ToWorker): void {
    this.heard.push(message);
  }

  kill(): void {
    this.isKilled = true;
    this.end(137);
  }

  end(code: number): void {
    this.#exit.resolve(code);
  }

  /** As one that has joined. */
  serve(port: number): this {
    this.say({ type: "listening", port });
    this.say({ type: "sharing" });
    return this;
  }
}

/** A supervisor of workers `a` and `b`, on a clock that the test moves; `lives` are in the order of their starts. */
function supervised() {
  const clock = new ManualClock();
  const log = new MemoryLog();
  const lives: FakeWorker[] = [];
  let refusedStarts = 0;
  const supervisor = new Supervisor({
    names: ["a", "b"],
    start: (name, onMessage) => {
      if (refusedStarts-- > 0) throw new Error("no more processes");
      const worker = new FakeWorker(name, onMessage);
      lives.push(worker);
      return worker;
    },
    clock,
    log,
  });
  const failures: Error[] = [];
  void supervisor.failed.then((error) => failures.push(error));
  const refuseStarts = (count: number) => void (refusedStarts = count);
  return { supervisor, clock, log, lives, failures, refuseStarts };
}

async function serving() {
  const all = supervised();
  const started = all.supervisor.start();
  all.lives[0]!.serve(1);
  all.lives[1]!.serve(2);
  await started;
  return all;
}

test("a machine is up when the last of its workers takes connections", async () => {
  const { supervisor, lives } = supervised();
  let isUp = false;
  void supervisor.start().then(() => isUp = true);
  lives[0]!.serve(1);
  lives[1]!.say({ type: "listening", port: 2 });
  await settle();
  assert.equal(isUp, false);
  lives[1]!.say({ type: "sharing" });
  await settle();
  assert.equal(isUp, true);
});

test("every worker knows where the others are, and who is down", async () => {
  const { lives, clock } = await serving();
  const places = (worker: FakeWorker) => {
    const last = worker.heard.at(-1)!;
    assert.ok(last.type === "workers");
    return last.workers.map(({ name, port }) => `${name} ${port}`).join();
  };
  for (const worker of lives) assert.equal(places(worker), "a 1,b 2");
  lives[0]!.end(137);
  await settle();
  assert.equal(places(lives[1]!), "a undefined,b 2");
  await clock.advance(100);
  lives[2]!.serve(3);
  for (const worker of lives.slice(1)) assert.equal(places(worker), "a 3,b 2");
});

test("a worker that falls is started again, ever later up to 10 s, and at once after a long life", async () => {
  const { lives, clock, log, failures } = await serving();
  for (const delayMs of [100, 200, 400, 800, 1_600, 3_200, 6_400, 10_000, 10_000]) {
    const before = lives.length;
    lives.at(-1)!.end(before % 2 === 0 ? 0 : 137);
    await clock.advance(delayMs - 1);
    assert.equal(lives.length, before, `${delayMs}`);
    await clock.advance(1);
    assert.equal(lives.length, before + 1, `${delayMs}`);
    assert.equal(lives.at(-1)!.name, "b");
  }
  lives.at(-1)!.serve(9);
  await clock.advance(30_000);
  lives.at(-1)!.end(1);
  await clock.advance(100);
  assert.equal(lives.length, 12);
  assert.equal(lives.filter(({ name }) => name === "a").length, 1, "the other one is left alone");
  assert.equal(log.lines[0], "warn b has ended with exit code 0: starting it again in 100 ms");
  assert.deepEqual(failures, []);
});

test("a worker that ends before all were up ends the machine, with ConfigError for exit code 2", async () => {
  for (const code of [0, 1, 2, 137]) {
    const { supervisor, lives, failures, clock } = supervised();
    void supervisor.start();
    lives[0]!.serve(1);
    lives[1]!.end(code);
    await clock.advance(60_000);
    assert.equal(lives.length, 2);
    assert.equal(failures.length, 1);
    assert.equal(failures[0] instanceof ConfigError, code === 2);
    assert.match(failures[0]!.message, new RegExp(`exit code ${code}`));
  }
});

test("a worker that refuses to run in its first life ends the machine whenever it says so", async () => {
  for (const [isSaid, code] of [[true, 1], [false, 2]] as const) {
    const { lives, failures } = await serving();
    if (isSaid) lives[1]!.say({ type: "refuses" });
    lives[1]!.end(code);
    await settle();
    assert.equal(failures.length, 1);
    assert.equal(failures[0] instanceof ConfigError, code === 2);
  }
});

test("a worker that refuses to run when it is started again is started ever later, and the others are left", async () => {
  for (const [isSaid, code] of [[true, 1], [true, 2], [false, 2]] as const) {
    const { lives, clock, log, failures } = await serving();
    lives[1]!.end(137);
    let delayMs = 100;
    for (let life = 2; life <= 9; life++, delayMs = Math.min(2 * delayMs, 10_000)) {
      await clock.advance(delayMs - 1);
      assert.equal(lives.length, life);
      await clock.advance(1);
      lives[life]!.serve(life);
      if (isSaid) lives[life]!.say({ type: "refuses" });
      lives[life]!.end(code);
    }
    await clock.advance(10_000);
    lives[10]!.serve(10);
    assert.equal(log.lines[1], `warn b refuses to run (exit code ${code}): starting it again in 200 ms`);
    // Neither after a long life: whatever it is, it is not what the machine was started with.
    await clock.advance(60_000);
    lives[10]!.end(2);
    await clock.advance(100);
    assert.equal(lives.length, 12);
    assert.equal(lives.filter(({ name }) => name === "a").length, 1);
    assert.deepEqual(failures, []);
  }
});

test("a worker that cannot be started again for now is tried again", async () => {
  const { lives, clock, log, failures, refuseStarts } = await serving();
  refuseStarts(2);
  lives[1]!.end(137);
  await clock.advance(100);
  await clock.advance(200);
  assert.deepEqual(log.lines.slice(1), [
    "warn b cannot be started (no more processes): starting it again in 200 ms",
    "warn b cannot be started (no more processes): starting it again in 400 ms",
  ]);
  await clock.advance(400);
  assert.equal(lives.length, 3);
  assert.deepEqual(failures, []);
});

test("a worker that does not come up within 30 s is ended, and counts as fallen", async () => {
  const { lives, clock, failures } = await serving();
  lives[0]!.end(1);
  await clock.advance(100);
  lives[2]!.say({ type: "listening", port: 3 });
  await clock.advance(29_999);
  assert.equal(lives[2]!.isKilled, false);
  await clock.advance(1);
  assert.equal(lives[2]!.isKilled, true);
  await clock.advance(100);
  lives[3]!.serve(4);
  await clock.advance(60_000);
  assert.equal(lives.length, 4);
  assert.equal(lives[3]!.isKilled, false);
  assert.deepEqual(failures, []);
});

test("a stop reaches all, waits for all, and starts nobody again", async () => {
  const { supervisor, lives, clock } = await serving();
  lives[0]!.end(137);
  await settle();
  let isOver = false;
  void supervisor.stop(1_000).then(() => isOver = true);
  assert.deepEqual(lives[1]!.heard.at(-1), { type: "stop" });
  await clock.advance(900);
  assert.equal(isOver, false);
  lives[1]!.end(0);
  await clock.advance(60_000);
  assert.equal(isOver, true);
  assert.equal(lives.length, 2);
  assert.equal(lives[1]!.isKilled, false);
  assert.equal(clock.pending, 0);
});

test("a worker that does not stop in time is ended", async () => {
  const { supervisor, lives, clock, log } = await serving();
  const stopped = supervisor.stop(1_000);
  lives[0]!.end(0);
  await clock.advance(1_000);
  await stopped;
  assert.deepEqual(lives.map(({ isKilled }) => isKilled), [false, true]);
  assert.deepEqual(log.lines, ["warn b did not stop in time: ended it"]);
});
