/**
 * The log of invalidations of a machine that runs alone (`--nats off`): the messages are in the supervisor's memory,
 * and each worker reaches them over its pipe. The pipe keeps the order, so a worker hears the same as the supervisor's
 * log tells.
 */
import { UnavailableError } from "../core/errors.ts";
import type { Label } from "../core/invalidation/label.ts";
import type { InvalidationLog, LogFollower } from "../core/invalidation/log.ts";

/** From a worker. Messages are JSON, so text holds them. */
export type ToLog =
  | { readonly type: "follow-log" }
  | { readonly type: "publish"; readonly id: number; readonly group: string; readonly data: string }
  | { readonly type: "catch-up"; readonly id: number };

/** To a worker. */
export type ToFollower =
  | { readonly type: "log-restart"; readonly label: Label }
  | {
    readonly type: "log-take";
    readonly sequence: number;
    readonly group: string;
    readonly data: string;
    readonly ageMs?: number | undefined;
  }
  | { readonly type: "log-settled"; readonly sequence: number; readonly askedAtMs: number }
  | { readonly type: "log-away" }
  | { readonly type: "published"; readonly id: number; readonly label: Label }
  | { readonly type: "not-published"; readonly id: number; readonly reason: string; readonly isAmbiguous: boolean }
  | { readonly type: "caught-up"; readonly id: number };

type Answer = Extract<ToFollower, { id: number }>;

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const strictDecoder = new TextDecoder("utf-8", { fatal: true });

const toLog: ReadonlySet<string> = new Set<ToLog["type"]>(["follow-log", "publish", "catch-up"]);
const toFollower: ReadonlySet<string> = new Set<ToFollower["type"]>(
  ["log-restart", "log-take", "log-settled", "log-away", "published", "not-published", "caught-up"],
);

/** Whether the message of a worker is for {@link serveLog}. */
export function isForLog(message: { readonly type: string }): message is ToLog {
  return toLog.has(message.type);
}

/** Whether the message of the supervisor is for {@link PipeLog.receive}. */
export function isForFollower(message: { readonly type: string }): message is ToFollower {
  return toFollower.has(message.type);
}

/** The supervisor's end: does one worker's work in `log`. */
export function serveLog(log: InvalidationLog, send: (message: ToFollower) => void): (message: ToLog) => void {
  const publish = async ({ id, group, data }: Extract<ToLog, { type: "publish" }>): Promise<void> => {
    try {
      send({ type: "published", id, label: await log.publish(group, encoder.encode(data)) });
    } catch (error) {
      const isAmbiguous = !(error instanceof UnavailableError) || error.isAmbiguous;
      send({ type: "not-published", id, reason: (error as Error).message, isAmbiguous });
    }
  };
  return (message) => {
    if (message.type === "publish") void publish(message);
    else if (message.type === "catch-up") {
      void log.catchUp().then(() => send({ type: "caught-up", id: message.id }));
    } else {
      log.followLog({
        restart: (label) => send({ type: "log-restart", label }),
        take: (sequence, group, data, ageMs) =>
          send({ type: "log-take", sequence, group, data: decoder.decode(data), ageMs }),
        settled: (sequence, askedAtMs) => send({ type: "log-settled", sequence, askedAtMs }),
        away: () => send({ type: "log-away" }),
      });
    }
  };
}

/** The worker's end. Its questions need no deadline: the supervisor answers, and a worker ends with its supervisor. */
export class PipeLog implements InvalidationLog {
  readonly isLocal = true;
  readonly #send: (message: ToLog) => void;
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #follower: LogFollower | undefined;
  #lastId = 0;
  #isClosed = false;
  /** The question in flight, and the one that waits for it. */
  #current: Promise<unknown> | undefined;
  #next: Promise<void> | undefined;

  constructor(send: (message: ToLog) => void) {
    this.#send = send;
  }

  followLog(follower: LogFollower): void {
    if (this.#follower !== undefined) throw new TypeError("Cannot follow the log twice");
    this.#follower = follower;
    this.#send({ type: "follow-log" });
  }

  async publish(group: string, data: Uint8Array): Promise<Label> {
    const refused = (reason: string) =>
      new UnavailableError(`${reason}: nothing was invalidated`, { isAmbiguous: false });
    if (this.#isClosed) throw refused("closed");
    let text: string;
    try {
      text = strictDecoder.decode(data);
    } catch {
      throw refused("not a text in UTF-8");
    }
    const answer = await this.#ask((id) => ({ type: "publish", id, group, data: text }));
    if (answer.type === "published") return answer.label;
    if (answer.type !== "not-published") throw new UnavailableError("closed");
    throw new UnavailableError(answer.reason, { isAmbiguous: answer.isAmbiguous });
  }

  catchUp(): Promise<void> {
    return this.#next ??= Promise.resolve(this.#current).then(async () => {
      this.#next = undefined;
      if (this.#isClosed) return;
      this.#current = this.#ask((id) => ({ type: "catch-up", id }));
      await this.#current;
    });
  }

  /** Tells nothing from now on, and ends pending questions. */
  close(): void {
    this.#isClosed = true;
    for (const [id, settle] of this.#waiting) settle({ type: "caught-up", id });
  }

  /** Takes a message of the supervisor. */
  receive(message: ToFollower): void {
    if ("id" in message) this.#waiting.get(message.id)?.(message);
    else if (this.#isClosed) return;
    else if (message.type === "log-restart") this.#follower?.restart(message.label);
    else if (message.type === "log-settled") this.#follower?.settled(message.sequence, message.askedAtMs);
    else if (message.type === "log-away") this.#follower?.away();
    else this.#follower?.take(message.sequence, message.group, encoder.encode(message.data), message.ageMs);
  }

  async #ask(question: (id: number) => ToLog): Promise<Answer> {
    const id = ++this.#lastId;
    const answer = await new Promise<Answer>((settle) => {
      this.#waiting.set(id, settle);
      this.#send(question(id));
    });
    this.#waiting.delete(id);
    return answer;
  }
}
