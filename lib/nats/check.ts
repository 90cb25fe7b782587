/** The look that a node takes every few seconds whether its watches still tell what the stream holds. */
import { Events, type NatsConnection, type StreamInfo } from "nats";
import type { NatsBucket } from "./bucket.ts";
import type { GroupWatch } from "./watch.ts";

/** The comparison of all watches of one connection with the stream. */
export class WatchCheck {
  readonly #bucket: NatsBucket;
  readonly #watches: readonly GroupWatch[];
  #passed = "";
  #isDistrusted = false;

  constructor(bucket: NatsBucket, watches: readonly GroupWatch[]) {
    this.#bucket = bucket;
    this.#watches = watches;
  }

  /** Has every watch opened anew at the next run. */
  distrust(): void {
    this.#isDistrusted = true;
  }

  /**
   * Looks, and opens anew what cannot be trusted. Where nothing happened since the last look, that is one small question:
   * the keys, of which there may be thousands, are listed only after a change.
   *
   * @throws UnavailableError
   */
  async run(groups: readonly string[]): Promise<void> {
    const isDistrusted = this.#isDistrusted;
    // Before any wait: what is to be distrusted meanwhile is so at the next run.
    this.#isDistrusted = false;
    try {
      await this.#look(groups, isDistrusted);
    } catch (error) {
      this.#isDistrusted ||= isDistrusted;
      throw error;
    }
  }

  async #look(groups: readonly string[], isDistrusted: boolean): Promise<void> {
    if (!isDistrusted && this.#watches.every((watch) => watch.isHeld && !watch.isAhead && !watch.isPolled)) {
      if (fingerprintOf(await this.#bucket.info()) === this.#passed) return;
    }
    const info = await this.#bucket.info(groups.length === 1 ? `${groups[0]}.>` : ">");
    const keys = this.#bucket.keysOf(info);
    const doubts = await Promise.all(this.#watches.map((watch) => watch.isDoubtful(info, keys)));
    const doubtful = this.#watches.filter((_, index) => isDistrusted || doubts[index]);
    await Promise.all(doubtful.map((watch) => this.#resync(watch)));
    this.#passed = this.#watches.some((watch) => watch.isAhead) ? "" : fingerprintOf(info);
  }

  /** What is asked for is up to date without a watch, which may come later. */
  async #resync(watch: GroupWatch): Promise<void> {
    try {
      await watch.resync();
    } catch (error) {
      if (!watch.isPolled) throw error;
    }
  }
}

/** Changes with every write, delete and purge. */
function fingerprintOf({ created, state }: StreamInfo): string {
  return [created, state.first_seq, state.last_seq, state.messages, state.num_deleted ?? 0].join(" ");
}

/** Tells when a server has left the NATS cluster, as far as the server that we are connected to knows. */
export class Topology {
  readonly #connection: NatsConnection;
  readonly #onGone: () => void;
  #known: readonly string[];
  #isClosed = false;

  constructor(connection: NatsConnection, onGone: () => void) {
    this.#connection = connection;
    this.#onGone = onGone;
    this.#known = this.#present();
    void this.#follow().catch(() => {});
  }

  close(): void {
    this.#isClosed = true;
  }

  #present(): readonly string[] {
    return this.#connection.info?.connect_urls ?? [];
  }

  async #follow(): Promise<void> {
    for await (const status of this.#connection.status()) {
      if (this.#isClosed) return;
      if (status.type !== Events.Update) continue;
      const present = this.#present();
      const isGone = this.#known.some((url) => !present.includes(url));
      this.#known = present;
      if (isGone) this.#onGone();
    }
  }
}
