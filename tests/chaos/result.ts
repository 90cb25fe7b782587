/** A scenario and its outcome. */
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

/** The input of a scenario. */
export interface Run {
  readonly system: System;
  readonly settings: Settings;
  readonly defer: Defer;
  /** Shows an event at once, and keeps it for the report. */
  readonly say: (text: string) => void;
  /** Gives the current figures, shown while the scenario runs. */
  readonly watch: (status: () => string) => void;
  /** The built groupcache-go node. */
  readonly goProgram?: string;
}

/** The targets of every scenario with clients; each has a column of the table. */
export const FAILED_REQUESTS = "failed client requests";
export const EXTRA_LOADS = "extra origin loads";

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
  /** Facts for the table, without a target. */
  readonly notes: readonly string[];
  /** Details to explain a missed target. */
  readonly details: Readonly<Record<string, unknown>>;
}

export interface Scenario {
  readonly name: string;
  /** Its name in the table. */
  readonly title: string;
  /** The reason why groupcache-go is not measured. */
  readonly notOnGo?: string;
  readonly run: (run: Run) => Promise<Outcome>;
}

/** A measured number with an upper limit. */
export function atMost(what: string, measured: number, most: number, unit = ""): Check {
  const shown = Number.isInteger(measured) ? String(measured) : measured.toFixed(1);
  return { what, target: `<= ${most}${unit}`, measured: `${shown}${unit}`, isMet: measured <= most };
}

/** A fact that must hold. */
export function holds(what: string, isMet: boolean, measured = isMet ? "yes" : "no"): Check {
  return { what, target: "yes", measured, isMet };
}
