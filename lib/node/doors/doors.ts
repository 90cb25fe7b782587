/**
 * The entrances for requests: the node's own listener, the listener for peers, the listener that a machine shares, and
 * a program's server.
 */
import { type HostPort, isLoopback } from "../../config/texts/addresses.ts";
import type { Config } from "../../config/config.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import { type AppOptions, createApp, starting } from "../../http/app.ts";
import { rawPathOf } from "../../http/key.ts";
import { createPeerApp, type PeerDoor, type PeersOptions } from "../../http/peers.ts";
import type { MachineFace } from "../../http/ports.ts";
import { PEER_PATH } from "../../peer/dialer.ts";
import type { PeerHub } from "../../peer/hub.ts";
import type { Fetch } from "../../runtime/globals.ts";
import { listen, type Listener, webSocketUpgrade } from "../../runtime/server/serve.ts";
import { InFlight } from "./in-flight.ts";
import { PeerListener, PeerTls } from "./peer-listener.ts";

export interface DoorsOptions {
  readonly config: Pick<Config, "addr" | "peerAddr" | "tlsCert" | "tlsKey" | "tlsCa">;
  readonly clock: Clock;
  readonly log: Log;
}

/** The doors of one node. After `open` they answer that the node is starting; after `serve` its app answers. */
export class Doors {
  readonly #options: DoorsOptions;
  /** Requests that have no answer yet. */
  readonly #requests = new InFlight();
  #upgrade: PeersOptions["upgrade"] | undefined;
  #tls: PeerTls | undefined;
  #listener: Listener | undefined;
  #peerListener: PeerListener | undefined;
  #shared: Listener | undefined;
  #unshared: Promise<void> | undefined;
  #appOptions: AppOptions | undefined;
  /** The app without the endpoint for other nodes. */
  #mounted: ReturnType<typeof createApp> | undefined;
  /** The port opens before the parts are wired; other nodes do not know it yet. */
  #answer: Fetch = starting;
  /** The answer at the listener for peers. */
  #answerPeer: Fetch = starting;

  constructor(options: DoorsOptions) {
    this.#options = options;
  }

  /** @throws Error the address cannot be used, or a certificate cannot be used */
  async open(): Promise<void> {
    const { config, clock, log } = this.#options;
    this.#upgrade = await webSocketUpgrade();
    const tls = this.#tls = new PeerTls({ files: config, clock, log });
    const fetch: Fetch = (request, server) => this.#tracked(this.#answer(request, server), request);
    this.#listener = await listen(config.addr, fetch, log);
    if (config.peerAddr === undefined) return;
    const fetchPeer: Fetch = (request, server) => this.#answerPeer(request, server);
    try {
      this.#peerListener = await PeerListener.open({ address: config.peerAddr, fetch: fetchPeer, tls, clock, log });
    } catch (error) {
      tls.close();
      await this.#listener.stop();
      throw error;
    }
  }

  /** The port of the node's own listener. Call it after `open`. */
  get port(): number {
    return this.#listener!.port;
  }

  /** The port for other nodes; without a listener for peers it is the node's own. Call it after `open`. */
  get peerPort(): number {
    return (this.#peerListener ?? this.#listener!).port;
  }

  /** Whether there is a separate listener for peers. The public one then has no path for them. */
  get hasPeerListener(): boolean {
    return this.#peerListener !== undefined;
  }

  /** The authorities that other nodes' certificates must come from, in PEM; `undefined`: the system's. */
  get ca(): string | undefined {
    return this.#tls?.ca;
  }

  /** From now on the app answers requests. Call it after `open`. */
  serve(options: AppOptions, hub: PeerHub): void {
    this.#appOptions = options;
    const peers = { door: doorOf(hub), upgrade: this.#upgrade! };
    const isLoopbackOnly = isLoopback(this.#options.config.addr.host);
    const app = createApp({ ...options, isLoopbackOnly, ...(!this.hasPeerListener && { peers }) });
    this.#answer = (request, server) => app.fetch(request, server as object);
    const peerApp = createPeerApp(peers, options.node);
    this.#answerPeer = (request, server) => peerApp.fetch(request, server as object);
  }

  /**
   * Serves clients at an address that the node shares with the other workers of its machine. There it shows the figures
   * of all of them. Call it after `serve`.
   *
   * @throws Error the address cannot be used
   */
  async share(addr: HostPort, machine: MachineFace): Promise<void> {
    const app = createApp({ ...this.#appOptions!, isLoopbackOnly: isLoopback(addr.host), machine });
    const fetch: Fetch = (request, server) => this.#tracked(app.fetch(request, server as object), request);
    this.#shared = await listen({ ...addr, isShared: true }, fetch, this.#options.log);
  }

  /** Takes no new connections at the shared address; open ones are still served. */
  unshare(): Promise<void> {
    return this.#unshared ??= this.#shared?.stop() ?? Promise.resolve();
  }

  /** Answers a request that another server of this program has received. Call it after `serve`. */
  fetch(request: Request): Response | Promise<Response> {
    const app = this.#mounted ??= createApp(this.#appOptions!);
    return this.#tracked(app.fetch(request), request);
  }

  /** Counts work of this program as a request without an answer. */
  track<T>(work: Promise<T>): Promise<T> {
    return this.#requests.track(work);
  }

  /** Requests that have no answer yet. */
  get requestsInFlight(): number {
    return this.#requests.count;
  }

  /** Resolves when every request has its answer. */
  allAnswered(): Promise<void> {
    return this.#requests.none();
  }

  /** Takes no new connections. Resolves when the open ones have ended. */
  async close(): Promise<void> {
    this.#tls?.close();
    await Promise.all([this.unshare(), this.#listener?.stop(), this.#peerListener?.stop()]);
  }

  /** Requests at the peers' path are not counted, so strangers there cannot delay a stop. */
  #tracked = (answer: Response | Promise<Response>, { url }: Request): Response | Promise<Response> =>
    answer instanceof Response || rawPathOf(url) === PEER_PATH ? answer : this.#requests.track(answer);
}

/** The peers' path; the hub decides about its requests. */
function doorOf(hub: PeerHub): PeerDoor {
  return {
    challenge: (fields) => hub.challenge(fields),
    admit: async (fields, gone) => {
      const admitted = await hub.admit(fields, gone);
      return admitted && hub.endpoint(admitted);
    },
  };
}
