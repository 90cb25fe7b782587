/** What suites of other projects, written for vitest and japa, need of a test runner: each of their tests is one of ours. */
import assert from "node:assert/strict";
import { after } from "node:test";
import { createNode } from "../../lib/mod.ts";
import { test } from "../support/test.ts";

type Step = () => unknown;

/** A node on its own with a writable group of text, for all tests of a file. */
export async function textGroup() {
  const node = await createNode({
    nats: "off",
    drainTimeout: "2s",
    groups: { text: { origin: "none:", writable: true, type: "text" } },
  });
  after(() => node.close());
  return node.group("text");
}

/** As vitest's `test`, as far as `@keyv/test-suite` goes. Several suites in one file keep their hooks apart. */
export class Vitest {
  readonly #title: string;
  readonly #before: Step[] = [];
  readonly #after: Step[] = [];
  /** How many tests were declared. */
  count = 0;

  constructor(title: string) {
    this.#title = title;
  }

  beforeEach(step: Step): void {
    this.#before.push(step);
  }

  afterEach(step: Step): void {
    this.#after.push(step);
  }

  it(title: string, run: (context: { expect: typeof expect }) => unknown): void {
    this.count++;
    test(`${this.#title}: ${title}`, async () => {
      for (const step of this.#before) await step();
      try {
        await run({ expect });
      } finally {
        for (const step of this.#after) await step();
      }
    });
  }
}

/** The matchers that the suite uses. */
function expect(value: unknown) {
  return {
    toBe: (wanted: unknown) => assert.ok(Object.is(value, wanted), `${String(value)} is not ${String(wanted)}`),
    toEqual: (wanted: unknown) => assert.deepEqual(value, wanted),
    toBeTruthy: () => assert.ok(value),
    toBeFalsy: () => assert.ok(!value),
    toBeNull: () => assert.equal(value, null),
    toBeDefined: () => assert.notEqual(value, undefined),
    toBeUndefined: () => assert.equal(value, undefined),
  };
}

/** As japa's `test` and its group, as far as the suite of bentocache's drivers goes. */
export class Japa {
  readonly #title: string;
  #setup: Step | undefined;
  readonly #teardowns: Step[] = [];
  #isSetUp = false;
  count = 0;
  readonly group = {
    // What it returns disconnects the driver, which does nothing.
    setup: (step: Step) => void (this.#setup = step),
    // It takes the time limit away; ours stays.
    tap: () => {},
    each: { teardown: (step: Step) => void this.#teardowns.push(step) },
  };

  constructor(title: string) {
    this.#title = title;
  }

  readonly test = (title: string, run: (context: object) => unknown): void => {
    this.count++;
    test(`${this.#title}: ${title}`, async (defer) => {
      if (!this.#isSetUp) await this.#setup?.();
      this.#isSetUp = true;
      defer(async () => {
        for (const step of this.#teardowns) await step();
      });
      await run({ assert: { ...assert, ...chai }, cleanup: defer });
    });
  };
}

/** What chai's `assert` has and that of Node.js has not. */
const chai = {
  deepEqual: assert.deepStrictEqual,
  isTrue: (value: unknown) => assert.equal(value, true),
  isFalse: (value: unknown) => assert.equal(value, false),
  isUndefined: (value: unknown) => assert.equal(value, undefined),
};
