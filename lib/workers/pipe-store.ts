/**
 * The registry of a machine that runs alone (`--nats off`): the records are in the supervisor's memory, and each worker
 * reaches them over its pipe. The supervisor's store follows the rules of registry/store.ts.
 */
import { UnavailableError, WrongRevisionError } from "../core/errors.ts";
import type { Entry, PeerStore, StoreListener, View } from "../registry/store/store.ts";

/** An entry in JSON. Records are JSON themselves, so text holds them. */
interface EntryText {
  readonly value?: string;
  readonly revision: number;
}

/** From a worker. */
export type ToStore =
  | { readonly type: "watch" }
  | { readonly type: "follow"; readonly group: string }
  | { readonly type: "unfollow"; readonly group: string }
  | { readonly type: "read"; readonly id: number; readonly key: string }
  /** Without a value: a delete. */
  | {
    readonly type: "write";
    readonly id: number;
    readonly key: string;
    readonly value?: string;
    readonly replaces: number;
  };

/** To a worker. */
export type ToWatcher =
  | {
    readonly type: "view";
    readonly view: Omit<View, "entries">;
    readonly entries: readonly (readonly [string, EntryText])[];
  }
  | { readonly type: "back" }
  | { readonly type: "away"; readonly reason: string }
  | (
    & { readonly type: "answer"; readonly id: number }
    & (EntryText | { readonly wrong: string } | { readonly unknown: string })
  );

type Answer = Extract<ToWatcher, { type: "answer" }>;

const encoder = new TextEncoder();
const decoder = new TextDecoder();

function textOf({ value, revision }: Entry): EntryText {
  return value === undefined ? { revision } : { value: decoder.decode(value), revision };
}

function entryOf({ value, revision }: EntryText): Entry {
  return { value: value === undefined ? undefined : encoder.encode(value), revision };
}

/** The supervisor's end: does one worker's work in `store`. */
export function serveStore(store: PeerStore, send: (message: ToWatcher) => void): (message: ToStore) => void {
  const answer = async (id: number, work: Promise<EntryText>): Promise<void> => {
    try {
      send({ type: "answer", id, ...await work });
    } catch (error) {
      const { message } = error as Error;
      send({
        type: "answer",
        id,
        ...(error instanceof WrongRevisionError ? { wrong: message } : { unknown: message }),
      });
    }
  };
  const write = async (key: string, value: string | undefined, replaces: number): Promise<EntryText> => ({
    revision:
      await (value === undefined ? store.delete(key, replaces) : store.put(key, encoder.encode(value), replaces)),
  });
  return (message) => {
    if (message.type === "read") void answer(message.id, store.read(message.key).then(textOf));
    else if (message.type === "write") void answer(message.id, write(message.key, message.value, message.replaces));
    else if (message.type === "follow") store.follow(message.group);
    else if (message.type === "unfollow") store.unfollow(message.group);
    else {
      store.watch({
        onView: ({ entries, ...view }) =>
          send({ type: "view", view, entries: [...entries].map(([key, entry]) => [key, textOf(entry)]) }),
        onBack: () => send({ type: "back" }),
        onAway: (reason) => send({ type: "away", reason }),
      });
    }
  };
}

/** The worker's end. Its questions need no deadline: the supervisor answers, and a worker ends with its supervisor. */
export class PipeStore implements PeerStore {
  readonly #send: (message: ToStore) => void;
  readonly #groups = new Set<string>();
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  #listener: StoreListener | undefined;
  #lastId = 0;
  #isClosed = false;

  constructor(send: (message: ToStore) => void) {
    this.#send = send;
  }

  async read(key: string): Promise<Entry> {
    return entryOf(await this.#ask((id) => ({ type: "read", id, key })));
  }

  async put(key: string, value: Uint8Array, replaces: number): Promise<number> {
    const text = decoder.decode(value);
    return (await this.#ask((id) => ({ type: "write", id, key, value: text, replaces }))).revision;
  }

  async delete(key: string, replaces: number): Promise<number> {
    return (await this.#ask((id) => ({ type: "write", id, key, replaces }))).revision;
  }

  /** Nothing is late here: the pipe keeps the order. */
  hurry(): void {}

  watch(listener: StoreListener): void {
    if (this.#listener !== undefined) throw new TypeError("Cannot watch twice");
    this.#listener = listener;
    this.#send({ type: "watch" });
  }

  follow(group: string): void {
    if (this.#groups.has(group)) return;
    this.#groups.add(group);
    this.#send({ type: "follow", group });
  }

  unfollow(group: string): void {
    if (this.#groups.delete(group)) this.#send({ type: "unfollow", group });
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    for (const [id, settle] of this.#waiting) settle({ type: "answer", id, unknown: "closed" });
  }

  /** Takes a message of the supervisor. */
  receive(message: ToWatcher): void {
    if (message.type === "answer") this.#waiting.get(message.id)?.(message);
    else if (this.#isClosed) return;
    else if (message.type === "back") this.#listener?.onBack();
    else if (message.type === "away") this.#listener?.onAway(message.reason);
    else if (this.#groups.has(message.view.group)) {
      const entries = new Map(message.entries.map(([key, entry]) => [key, entryOf(entry)]));
      this.#listener?.onView({ ...message.view, entries });
    }
  }

  async #ask(question: (id: number) => ToStore): Promise<EntryText> {
    if (this.#isClosed) throw new UnavailableError("closed");
    const id = ++this.#lastId;
    const answer = await new Promise<Answer>((settle) => {
      this.#waiting.set(id, settle);
      this.#send(question(id));
    });
    this.#waiting.delete(id);
    if ("wrong" in answer) throw new WrongRevisionError(answer.wrong);
    if ("unknown" in answer) throw new UnavailableError(answer.unknown);
    return answer;
  }
}
