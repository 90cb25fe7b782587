/** What a scenario is, and what it found. */
import type { Defer } from "../support/test.ts";

export type System = "muster" | "groupcache-go";

export interface Settings {
  readonly keys: number;
  /** Requests per second, all nodes together. */
  readonly rate: number;
  /** How long the load lasts around the fault, at least. */
  readonly seconds: number;
  /** How long NATS is away in the scenario about that. */
  readonly outageSeconds: number;
  readonly originDelayMs: number;
  readonly seed: number;
}

export const fullSettings: Settings = {
  keys: 20_000,
  rate: 400,
  seconds: 20,
  outageSeconds: 60,
  originDelayMs: 50,
  seed: 1,
};

/** All that a scenario is given. */
export interface Run {
  readonly system: System;
  readonly settings: Settings;
  readonly defer: Defer;
  /** Something happened: shown as it does, and kept for the report. */
  readonly say: (text: string) => void;
  /** The figures of the moment, shown while the scenario runs. */
  readonly watch: (status: () => string) => void;
  /** The built groupcache-go node. */
  readonly goProgram?: string;
}

/** One target and whether it was met. */
export interface Check {
  readonly what: string;
  readonly target: string;
  readonly measured: string;
  readonly isMet: boolean;
}

export interface Outcome {
  /** Undefined where the scenario has no clients. */
  readonly failed?: number;
  /** Undefined where the scenario has no origin. */
  readonly extraLoads?: number;
  readonly checks: readonly Check[];
  /** Worth a word in the table, without a target. */
  readonly notes: readonly string[];
  /** For whoever looks for the reason of a miss. */
  readonly details: Readonly<Record<string, unknown>>;
}

export interface Scenario {
  readonly name: string;
  /** The words of the table. */
  readonly title: string;
  /** Where the other system is not measured: why. */
  readonly notOnGo?: string;
  readonly run: (run: Run) => Promise<Outcome>;
}

/** A measured number that must not be above another. */
export function atMost(what: string, measured: number, most: number, unit = ""): Check {
  const shown = Number.isInteger(measured) ? String(measured) : measured.toFixed(1);
  return { what, target: `<= ${most}${unit}`, measured: `${shown}${unit}`, isMet: measured <= most };
}

/** A fact that must hold. */
export function holds(what: string, isMet: boolean, measured = isMet ? "yes" : "no"): Check {
  return { what, target: "yes", measured, isMet };
}
