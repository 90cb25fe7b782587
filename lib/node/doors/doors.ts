/** Where requests come in: the node's own listener, the one for peers alone, the one that a machine shares, and a program's. */
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

/** The doors of one node. From `open` on they answer that the node is starting; from `serve` on, its app answers. */
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
  /** Before everything is wired, the port is open, but nobody knows it yet. */
  #answer: Fetch = starting;
  /** At the listener for the peers alone. */
  #answerPeer: Fetch = starting;

  constructor(options: DoorsOptions) {
    this.#options = options;
  }

  /** @throws Error the address cannot be had, or a certificate cannot be used */
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

  /** Of the node's own listener. To be called after `open`. */
  get port(): number {
    return this.#listener!.port;
  }

  /** Where other nodes come in; the same without a listener for them alone. To be called after `open`. */
  get peerPort(): number {
    return (this.#peerListener ?? this.#listener!).port;
  }

  /** Whether other nodes have a listener of their own. The public one then has no path for them. */
  get hasPeerListener(): boolean {
    return this.#peerListener !== undefined;
  }

  /** The authorities that other nodes' certificates must come from, in PEM; `undefined`: the system's. */
  get ca(): string | undefined {
    return this.#tls?.ca;
  }

  /** Answers requests by the app from now on. To be called after `open`. */
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
   * Serves clients at an address that the node shares with others of its machine, whose figures it shows there. To be called
   * after `serve`.
   *
   * @throws Error the address cannot be had
   */
  async share(addr: HostPort, machine: MachineFace): Promise<void> {
    const app = createApp({ ...this.#appOptions!, isLoopbackOnly: isLoopback(addr.host), machine });
    const fetch: Fetch = (request, server) => this.#tracked(app.fetch(request, server as object), request);
    this.#shared = await listen({ ...addr, isShared: true }, fetch, this.#options.log);
  }

  /** Takes no more connections at the shared address; those that stand are served. */
  unshare(): Promise<void> {
    return this.#unshared ??= this.#shared?.stop() ?? Promise.resolve();
  }

  /** Answers a request that another server of this program has received. To be called after `serve`. */
  fetch(request: Request): Response | Promise<Response> {
    const app = this.#mounted ??= createApp(this.#appOptions!);
    return this.#tracked(app.fetch(request), request);
  }

  /** Counts work of this program among the requests that have no answer yet. */
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

  /** Takes no more connections. Resolves when those that stand have ended. */
  async close(): Promise<void> {
    this.#tls?.close();
    await Promise.all([this.unshare(), this.#listener?.stop(), this.#peerListener?.stop()]);
  }

  /** Strangers at the peers' path must not keep this node from its end. */
  #tracked = (answer: Response | Promise<Response>, { url }: Request): Response | Promise<Response> =>
    answer instanceof Response || rawPathOf(url) === PEER_PATH ? answer : this.#requests.track(answer);
}

/** The peers' path, as the hub decides about it. */
function doorOf(hub: PeerHub): PeerDoor {
  return {
    challenge: (fields) => hub.challenge(fields),
    admit: async (fields, gone) => {
      const admitted = await hub.admit(fields, gone);
      return admitted && hub.endpoint(admitted);
    },
  };
}
