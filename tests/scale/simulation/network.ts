/** The simulated network: the travel time of messages, and the number of each kind. */
import { ManualClock } from "../../support/clock.ts";

/** Between two machines of one data centre, one way, in milliseconds: evenly distributed. Chosen. */
const LATENCY_MS = [0.2, 0.8] as const;
/** A lost packet is sent again by TCP after this time at least (Linux, TCP_RTO_MIN). */
const RESEND_MS = 200;

/** The kinds of messages between nodes and with NATS; a question and its answer are two messages. */
export const KINDS = [
  "probe",
  "indirect probe",
  "position",
  "catch-up",
  "peek",
  "push",
  "get",
  "registry: read or write",
  "registry: news",
  "log: publish",
  "log: news",
] as const;
export type Kind = typeof KINDS[number];

/** Messages by kind. */
export type Counts = Readonly<Record<Kind, number>>;

/** The messages between two moments. */
export function difference(after: Counts, before: Counts): Counts {
  return Object.fromEntries(KINDS.map((kind) => [kind, after[kind] - before[kind]])) as Counts;
}

/** Whether a message of this kind goes over a connection between two nodes, and not to or from NATS. */
export function isBetweenNodes(kind: Kind): boolean {
  return !kind.startsWith("registry") && !kind.startsWith("log");
}

export interface NetworkOptions {
  /** From 0 to 1, like Math.random. */
  readonly random: () => number;
  /** The share of messages that TCP must send again. @default 0.001 */
  readonly loss?: number;
}

/** Time, travel times and counts. Connections keep no order: a message may overtake a lost one. */
export class Network {
  readonly clock = new ManualClock();
  readonly random: () => number;
  readonly #loss: number;
  readonly #counts = Object.fromEntries(KINDS.map((kind) => [kind, 0])) as Record<Kind, number>;

  constructor({ random, loss = 0.001 }: NetworkOptions) {
    this.random = random;
    this.#loss = loss;
  }

  get counts(): Counts {
    return { ...this.#counts };
  }

  count(kind: Kind, messages: number): void {
    this.#counts[kind] += messages;
  }

  /** How long the next message is on its way, in milliseconds. */
  wayMs(): number {
    const [least, most] = LATENCY_MS;
    const wayMs = least + (most - least) * this.random();
    return this.random() < this.#loss ? wayMs + RESEND_MS : wayMs;
  }

  /** Resolves when a message has arrived. */
  way(): Promise<void> {
    return new Promise((arrived) => this.clock.after(this.wayMs(), arrived));
  }
}
