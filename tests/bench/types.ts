/** What rows are, what they measure, and what is told of them. */
import type { RuntimeKind } from "../support/node.ts";
import type { Defer } from "../support/test.ts";

/** One contestant's figures of one measure, a number per round. */
export interface Series {
  readonly contestant: string;
  readonly measure: string;
  readonly unit: string;
  readonly rounds: number[];
}

export interface Target {
  readonly is: ">=" | "<=" | "==";
  readonly limit: number;
}

export interface Verdict {
  readonly runtime: RuntimeKind;
  readonly measure: string;
  readonly unit: string;
  /** Undefined: not measured, and `reason` says why. */
  readonly value?: number;
  /** What each round gave: ratios, where the value is one. */
  readonly rounds?: readonly number[];
  readonly target: Target;
  readonly status: "pass" | "miss" | "skip";
  readonly reason?: string;
}

/** What a row found. */
export interface Outcome {
  readonly series: Series[];
  readonly verdicts: Verdict[];
  /** Answers that were no answer, or not the right bytes. */
  errors: number;
  /** How many bodies were compared byte for byte. */
  checked: number;
  readonly notes: string[];
}

export interface RowResult extends Outcome {
  readonly id: string;
  readonly what: string;
  readonly how: string;
  readonly tookMs: number;
}

/** Thrown by a row that this machine cannot run. */
export class Skip extends Error {}

export interface Go {
  /** The folder of the built contestants. */
  readonly folder?: string;
  /** Why there is none. */
  readonly reason?: string;
}

/** Where the time of a node under load goes. */
export interface Profile {
  readonly row: string;
  readonly runtime: RuntimeKind;
  readonly requestsPerSecond: number;
  readonly profiledPerSecond: number;
  /** What the runtime's constant answer reached on the same cores; for a hop, what a bare hop did. */
  readonly limitPerSecond: number;
  /** What the process used while it was profiled under load, all threads. */
  readonly cpuMs: number;
  /** Functions by their own time, as shares of `cpuMs`, the greatest first. */
  readonly top: readonly ProfileEntry[];
  /** The share of `cpuMs` in no function of JavaScript: sockets, the kernel, the collector, the compilers. */
  readonly native: number;
}

export interface ProfileEntry {
  readonly share: number;
  /** Name, file and line. */
  readonly what: string;
}

export interface Bench {
  readonly quick: boolean;
  /** How often each contestant has its turn, where a turn is a piece of work. */
  readonly rounds: number;
  /** How often where a turn is a time under load: short turns, and many, as the machine changes its pace within seconds. */
  readonly loadRounds: number;
  /** How long each turn under load lasts. */
  readonly turnMs: number;
  /** How long the one before the first round lasts, which is not told. */
  readonly warmUpMs: number;
  readonly go: Go;
  /** What this row started is ended when its stage is over. */
  readonly defer: Defer;
  /** What rows of one stage share is made by the first of them, and ended after the last. */
  readonly shared: <T>(name: string, make: () => Promise<T>) => Promise<T>;
  /** Tells where the row is. */
  readonly step: (text: string) => void;
}

export interface Row {
  readonly id: string;
  readonly what: string;
  readonly how: string;
  /** Rows beside each other with the same stage share their servers. */
  readonly stage?: string;
  /** What it may take, in seconds: quick, and full with five rounds. A full row that takes longer has missed its targets. */
  readonly maxSeconds: readonly [number, number];
  /** Targets by measure and runtime, for what is skipped. */
  readonly targets: Readonly<Record<string, Readonly<Partial<Record<RuntimeKind, Target>>>>>;
  run(bench: Bench, outcome: Outcome): Promise<void>;
}
