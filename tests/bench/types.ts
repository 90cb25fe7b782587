/** Rows, their measures and their results. */
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
  /** Undefined when not measured; `reason` says why. */
  readonly value?: number;
  /** The rounds' values; ratios, where the value is a ratio. */
  readonly rounds?: readonly number[];
  readonly target: Target;
  readonly status: "pass" | "miss" | "skip";
  readonly reason?: string;
}

/** The result of a row. */
export interface Outcome {
  readonly series: Series[];
  readonly verdicts: Verdict[];
  /** Requests without an answer, or with wrong bytes. */
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
  /** The reason why there is none. */
  readonly reason?: string;
}

/** Where the time of a node under load goes. */
export interface Profile {
  readonly row: string;
  readonly runtime: RuntimeKind;
  readonly requestsPerSecond: number;
  readonly profiledPerSecond: number;
  /** The figure of the runtime's constant answer on the same cores; for a hop, that of a bare hop. */
  readonly limitPerSecond: number;
  /** CPU time of the process while it was profiled under load, all threads. */
  readonly cpuMs: number;
  /** Functions by their own time, as shares of `cpuMs`, the greatest first. */
  readonly top: readonly ProfileEntry[];
  /** The share of `cpuMs` outside JavaScript functions: sockets, the kernel, the collector, the compilers. */
  readonly native: number;
}

export interface ProfileEntry {
  readonly share: number;
  /** Name, file and line. */
  readonly what: string;
}

export interface Bench {
  readonly quick: boolean;
  /** Turns of each contestant, where a turn is a piece of work. */
  readonly rounds: number;
  /** Turns under load: many short ones, because the machine changes its speed within seconds. */
  readonly loadRounds: number;
  /** How long each turn under load lasts. */
  readonly turnMs: number;
  /** How long the warm-up before the first round lasts; it is not counted. */
  readonly warmUpMs: number;
  readonly go: Go;
  /** Registers a clean-up for the end of the row's stage. */
  readonly defer: Defer;
  /** Makes a part that the rows of a stage share, once; it ends after the last row. */
  readonly shared: <T>(name: string, make: () => Promise<T>) => Promise<T>;
  /** Shows the row's progress. */
  readonly step: (text: string) => void;
}

export interface Row {
  readonly id: string;
  readonly what: string;
  readonly how: string;
  /** Neighbouring rows with the same stage share their servers. */
  readonly stage?: string;
  /** Time limits in seconds: quick, and full with five rounds. A full row that exceeds it misses its targets. */
  readonly maxSeconds: readonly [number, number];
  /** Targets by measure and runtime, also for skipped figures. */
  readonly targets: Readonly<Record<string, Readonly<Partial<Record<RuntimeKind, Target>>>>>;
  run(bench: Bench, outcome: Outcome): Promise<void>;
}
