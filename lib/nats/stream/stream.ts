/** Reads one JetStream stream over one connection: from its leader, and by a bell that rings when a message comes. */
import { UnavailableError } from "../../core/errors.ts";
import {
  createInbox,
  type JetStreamManager,
  type Msg,
  type MsgRequest,
  type NatsConnection,
  type StreamInfo,
} from "nats";
import type { Clock } from "../../core/base/clock.ts";
import { atDeadline } from "../../core/base/time/deadlines.ts";

const NO_MESSAGE_CODE = 10037;
/** The server's error code for a missing stream. */
export const NO_STREAM_CODE = 10059;
/**
 * The most messages of one batch. Chosen: few enough that the server does not take this node for a slow consumer (it
 * buffers 64 MiB).
 */
const BATCH_MESSAGES = 1_024;
const BATCH_BYTES = 4 * 1024 * 1024;

/** One stored message. */
export interface StreamMessage {
  readonly subject: string;
  /** Its number in the stream, from 1. */
  readonly sequence: number;
  readonly header: { get(name: string): string };
  /** When its leader took it, as the server writes it. */
  readonly time: string;
  readonly data: Uint8Array;
}

export interface StreamOptions {
  readonly connection: NatsConnection;
  readonly manager: JetStreamManager;
  readonly name: string;
  readonly clock: Clock;
  /** How long one question may take, in ms. */
  readonly requestTimeoutMs: number;
}

/** A stream over one connection. */
export class NatsStream {
  readonly #options: StreamOptions;
  /** Whether batches may work: nats-server has them since 2.11, and the stream must allow direct gets. */
  #canBatch = true;

  constructor(options: StreamOptions) {
    this.#options = options;
  }

  /**
   * The stream's information from its leader.
   *
   * @param subject also lists the matching subjects. @default no subjects
   * @throws UnavailableError
   */
  async info(subject?: string): Promise<StreamInfo> {
    const { manager, name } = this.#options;
    try {
      return await manager.streams.info(name, subject === undefined ? undefined : { subjects_filter: subject });
    } catch (error) {
      throw unavailable(error);
    }
  }

  /**
   * The last message under a subject, read from the leader. The client's own direct get may ask a lagging replica.
   *
   * @throws UnavailableError
   */
  last(subject: string): Promise<StreamMessage | undefined> {
    return this.#ofLeader({ last_by_subj: subject });
  }

  /**
   * Delivers the messages after `sequence` in order, up to at least `upTo`, which must be a sequence from the leader.
   * Any replica may answer a batch. If it lacks messages, the leader gives the rest one by one.
   *
   * @throws UnavailableError
   */
  async after(sequence: number, subject: string, upTo: number, take: (message: StreamMessage) => void): Promise<void> {
    let at = sequence;
    const takeNext = (message: StreamMessage): void => {
      at = message.sequence;
      take(message);
    };
    let isLagging = false;
    while (this.#canBatch && !isLagging && at < upTo) {
      const before = at;
      this.#canBatch = await this.#batch(at + 1, subject, takeNext);
      isLagging = at === before;
    }
    while (at < upTo) {
      // The server's request has three forms; the client's types know only two.
      const next = await this.#ofLeader({ seq: at + 1, next_by_subj: subject } as unknown as MsgRequest);
      if (next === undefined) return;
      takeNext(next);
    }
  }

  /**
   * Calls `onRing` once when a message is published under the subject. The message may not be stored yet and may be
   * refused. Only once: in a burst each message would otherwise go to every node twice, as a bell and as an answer.
   *
   * @returns a function that removes the bell
   */
  ring(subject: string, onRing: () => void): () => void {
    const { connection } = this.#options;
    if (connection.isClosed() || connection.isDraining()) return () => {};
    const callback = (error: unknown): void => {
      if (error === null) onRing();
    };
    const subscription = connection.subscribe(subject, { max: 1, callback });
    return () => {
      if (!connection.isClosed() && !subscription.isClosed()) subscription.unsubscribe();
    };
  }

  async #ofLeader(query: MsgRequest): Promise<StreamMessage | undefined> {
    const { manager, name } = this.#options;
    try {
      const { subject, seq: sequence, header, data, timestamp: time } = await manager.streams.getMessage(name, query);
      return { subject, sequence, header, data, time };
    } catch (error) {
      if (codeOf(error) === NO_MESSAGE_CODE) return undefined;
      throw unavailable(error);
    }
  }

  /**
   * One direct get of many messages. The client's own one refuses messages without a body, such as deletes.
   *
   * @returns whether another batch may help
   */
  #batch(sequence: number, subject: string, take: (message: StreamMessage) => void): Promise<boolean> {
    const { connection, name, clock, requestTimeoutMs } = this.#options;
    const query = { seq: sequence, next_by_subj: subject, batch: BATCH_MESSAGES, max_bytes: BATCH_BYTES };
    if (connection.isClosed()) return Promise.resolve(false);
    return new Promise((resolve) => {
      const end = (isAnswered: boolean): void => {
        cancel();
        if (!connection.isClosed()) answers.unsubscribe();
        resolve(isAnswered);
      };
      let heard = 0;
      const wait = (heardBefore: number): () => void =>
        atDeadline(clock, requestTimeoutMs / 2, () => {
          if (heard === heardBefore) end(false);
          else cancel = wait(heard);
        });
      const hear = (message: Msg): void => {
        const code = message.headers?.code ?? 0;
        // 204: end of the batch; 404: no message.
        if (code !== 0) return end(code === 204 || code === 404);
        const stored = storedIn(message);
        // An older server answers with one message and then nothing.
        if (stored === undefined || !message.headers!.has("Nats-Num-Pending")) return end(false);
        heard++;
        take(stored);
      };
      let cancel = wait(heard);
      const inbox = createInbox();
      const answers = connection.subscribe(inbox, {
        callback: (error, message) => error === null ? hear(message) : end(false),
      });
      connection.publish(`$JS.API.DIRECT.GET.${name}`, JSON.stringify(query), { reply: inbox });
    });
  }
}

function storedIn({ headers, data }: Msg): StreamMessage | undefined {
  const sequence = Number(headers?.get("Nats-Sequence") || NaN);
  if (headers === undefined || !Number.isSafeInteger(sequence)) return undefined;
  const [subject, time] = [headers.get("Nats-Subject"), headers.get("Nats-Time-Stamp")];
  return { subject, sequence, header: headers, data, time };
}

/** The server's error code of JetStream. */
export function codeOf(error: unknown): unknown {
  return (error as { api_error?: { err_code?: unknown } } | undefined)?.api_error?.err_code;
}

/** Whether the error says that the stream is missing: it was not made yet, or it was deleted. */
export function isStreamGone(error: unknown): boolean {
  const cause = error instanceof UnavailableError ? error.cause : error;
  return codeOf(cause) === NO_STREAM_CODE || isUnheard(cause);
}

/** Whether no server listens to the question: JetStream is off, or the stream is gone. */
function isUnheard(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === "503";
}

/** Turns any error of NATS into the port's error. */
export function unavailable(error: unknown): UnavailableError {
  if (error instanceof UnavailableError) return error;
  if (isUnheard(error)) return new UnavailableError("no JetStream answers", { cause: error });
  return new UnavailableError(error instanceof Error ? error.message : String(error), { cause: error });
}
