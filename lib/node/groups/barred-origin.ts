/** Takes the place of a group's origin on a node that does not serve the group and must never ask the origin. */
import { UnservedError } from "../../core/errors.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { ForwardedAnswer, ForwardedRequest, PeerPicker } from "../../core/ports.ts";
import { endToEnd, without } from "../../core/semantics/fields.ts";
import { HttpClient } from "../../origins/http/client.ts";
import { ORIGIN_IDLE_MS, passThrough } from "../../origins/http/through.ts";
import type { CheckedOrigin } from "../../origins/origin.ts";

export interface BarredOptions {
  readonly group: string;
  readonly picker: PeerPicker;
  /** The URL at which that peer takes clients' requests; `undefined`: it cannot be reached now. */
  readonly urlOf: (peer: string) => string | undefined;
  readonly clock: Clock;
}

/** The most peers that a fetch tries. Chosen. */
const MAX_TRIED = 16;
/** Longer than the peer's longest wait for the origin (`loadTimeoutMs` is 120 s at most), so that its error arrives. */
const PEER_IDLE_MS = 120_000 + ORIGIN_IDLE_MS;
/** Fields that each hop sets itself. */
const OF_THIS_HOP: ReadonlySet<string> = new Set(["host", "content-length", "expect"]);

/**
 * Refuses every load. A request that goes through to a site is sent unchanged to a node that serves the site: to the
 * key's owner, or to the first connected node in rank.
 */
export class BarredOrigin implements CheckedOrigin {
  /** For a site only. */
  readonly forward: CheckedOrigin["forward"];
  readonly changedBy: CheckedOrigin["changedBy"];
  readonly #origin: CheckedOrigin;
  readonly #options: BarredOptions;
  /** By URL; one for each peer that got a request recently. */
  readonly #clients = new Map<string, HttpClient>();
  readonly #closing = new AbortController();

  /** @param origin the origin that it replaces */
  constructor(origin: CheckedOrigin, options: BarredOptions) {
    this.#origin = origin;
    this.#options = options;
    this.forward = origin.forward && ((request, signal) => this.#forward(request, signal));
    this.changedBy = origin.changedBy?.bind(origin);
  }

  /** @throws UnservedError always */
  load(): Promise<never> {
    return Promise.reject(this.#unserved());
  }

  /** The nodes that serve the group check its origin. */
  check(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  close(): Promise<void> {
    this.#closing.abort(this.#unserved());
    for (const client of this.#clients.values()) client.close();
    return this.#origin.close();
  }

  /** @throws UnservedError no node that serves the site is connected; OriginError it gave no answer */
  async #forward({ method, key, fields, body }: ForwardedRequest, signal: AbortSignal): Promise<ForwardedAnswer> {
    const { group, picker, urlOf } = this.#options;
    const urls = picker.ranked(key, MAX_TRIED).map((peer) => peer && urlOf(peer.name));
    const url = urls.find((url) => url !== undefined);
    if (url === undefined) throw this.#unserved();
    const length = body === null ? [] : fields.filter(([name]) => name === "content-length");
    const head = { method, target: `/cache/${group}/${key}`, fields: [...without(fields, OF_THIS_HOP), ...length] };
    const { answer, body: content } = await passThrough(head, body, AbortSignal.any([signal, this.#closing.signal]), {
      client: this.#clientOf(url, urls),
      clock: this.#options.clock,
      idleMs: PEER_IDLE_MS,
      name: url,
    });
    return {
      status: answer.status,
      fields: endToEnd(answer.fields),
      body: content,
      // Not kept here: the node that serves the site decides whether to keep the answer.
      isStorable: false,
    };
  }

  #clientOf(url: string, urls: readonly (string | undefined)[]): HttpClient {
    const known = this.#clients.get(url);
    if (known !== undefined) return known;
    // A peer that has gone is not asked again. Its requests in flight end by themselves.
    for (const other of this.#clients.keys()) {
      if (this.#clients.size >= MAX_TRIED && !urls.includes(other)) this.#clients.delete(other);
    }
    const client = new HttpClient(new URL(url), this.#options.clock);
    this.#clients.set(url, client);
    return client;
  }

  #unserved(): UnservedError {
    return new UnservedError(`no node that serves ${this.#options.group} can be reached now`);
  }
}
