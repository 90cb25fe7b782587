/** A listener for peers only, and the certificate files for both ends. */
import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Config } from "../../config/config.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import { readTextFile } from "../../runtime/process.ts";
import { type Certificate, listen, type Listener } from "../../runtime/server/serve.ts";
import type { Fetch } from "../../runtime/globals.ts";

/** How often the files are read. Chosen: a certificate is renewed days before its end. */
const CHECK_MS = 10_000;
/** On Deno a released address is free a little later (measured: 1 ms). */
const RETRY_MS = 5;
/** After this many retries, half a second, the delay is unusual and is logged. */
const SAID_FAILURES = 100;

export type TlsFiles = Pick<Config, "tlsCert" | "tlsKey" | "tlsCa">;

export interface PeerTlsOptions {
  readonly files: TlsFiles;
  readonly clock: Clock;
  readonly log: Log;
}

/** The certificates for connections between nodes, read again when their files change. */
export class PeerTls {
  readonly #options: PeerTlsOptions;
  #certificate: Certificate | undefined;
  #ca: string | undefined;
  #onChange: () => void = () => {};
  #saidFault: string | undefined;
  #cancelCheck = (): void => {};

  /** @throws Error a file cannot be read, or is no certificate or no key, or not the key of the certificate */
  constructor(options: PeerTlsOptions) {
    this.#options = options;
    const { tlsCert, tlsCa } = options.files;
    if (tlsCert === undefined && tlsCa === undefined) return;
    this.#read();
    this.#checkLater();
  }

  /** The certificate of this node. */
  get certificate(): Certificate | undefined {
    return this.#certificate;
  }

  /** The authorities that other nodes' certificates must come from, in PEM; `undefined`: the system's. */
  get ca(): string | undefined {
    return this.#ca;
  }

  /** Called when this node has a new certificate. */
  set onChange(action: () => void) {
    this.#onChange = action;
  }

  /** Stops reading the files. */
  close(): void {
    this.#cancelCheck();
  }

  #checkLater(): void {
    this.#cancelCheck = this.#options.clock.after(CHECK_MS, () => {
      this.#check();
      this.#checkLater();
    });
  }

  /** While files are being written they may not fit together yet. The former ones stay in use until they do. */
  #check(): void {
    const { log } = this.#options;
    const before = this.#certificate;
    try {
      this.#read();
    } catch (error) {
      const reason = (error as Error).message;
      if (reason !== this.#saidFault) log.warn(`${reason}: the ones before stay in use`, {}, { reason });
      this.#saidFault = reason;
      return;
    }
    this.#saidFault = undefined;
    if (this.#certificate?.cert === before?.cert && this.#certificate?.key === before?.key) return;
    log.info("the certificate for other nodes has changed");
    this.#onChange();
  }

  #read(): void {
    const { tlsCert, tlsKey, tlsCa } = this.#options.files;
    const ca = tlsCa === undefined ? undefined : read("--tls-ca", tlsCa);
    const certificate = tlsCert === undefined
      ? undefined
      : { cert: read("--tls-cert", tlsCert), key: read("--tls-key", tlsKey!) };
    if (ca !== undefined) certificateIn("--tls-ca", ca);
    if (certificate !== undefined) checkPair(certificate);
    this.#ca = ca;
    this.#certificate = certificate;
  }
}

function read(option: string, path: string): string {
  try {
    return readTextFile(path);
  } catch (error) {
    throw new Error(`Cannot use ${option} ${path}: ${(error as Error).message}`);
  }
}

function certificateIn(option: string, pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch {
    throw new Error(`Cannot use ${option}: it is no certificate in PEM`);
  }
}

function checkPair({ cert, key }: Certificate): void {
  const certificate = certificateIn("--tls-cert", cert);
  let isPair: boolean;
  try {
    isPair = certificate.checkPrivateKey(createPrivateKey(key));
  } catch {
    throw new Error("Cannot use --tls-key: it is no private key in PEM");
  }
  if (!isPair) throw new Error("Cannot use --tls-key: it is not the key of the certificate of --tls-cert");
}

export interface PeerListenerOptions {
  readonly address: { readonly host: string; readonly port: number };
  readonly fetch: Fetch;
  readonly tls: PeerTls;
  readonly clock: Clock;
  readonly log: Log;
}

/**
 * Listens at one address. Neither runtime can change a listener's certificate, so the listener is closed and opened
 * again. Open connections survive that.
 */
export class PeerListener implements Listener {
  readonly #options: PeerListenerOptions;
  readonly port: number;
  #listener: Listener;
  /** Former listeners, until their connections have ended. */
  readonly #former = new Set<Promise<void>>();
  #opening: Promise<void> | undefined;
  #isAgain = false;
  #isStopping = false;

  /** @throws Error as `listen` */
  static async open(options: PeerListenerOptions): Promise<PeerListener> {
    const { address, fetch, tls } = options;
    return new PeerListener(
      options,
      await listen({ ...address, isForPeers: true, tls: tls.certificate }, fetch, options.log),
    );
  }

  private constructor(options: PeerListenerOptions, listener: Listener) {
    this.#options = options;
    this.#listener = listener;
    this.port = listener.port;
    options.tls.onChange = () => {
      this.#isAgain = true;
      this.#opening ??= this.#reopen().finally(() => this.#opening = undefined);
    };
  }

  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#options.tls.onChange = () => {};
    await this.#opening;
    await Promise.all([this.#listener.stop().catch(() => {}), ...this.#former]);
  }

  async #reopen(): Promise<void> {
    while (this.#isAgain && !this.#isStopping) {
      this.#isAgain = false;
      const over: Promise<void> = this.#listener.stop().catch(() => {}).finally(() => this.#former.delete(over));
      this.#former.add(over);
      await this.#openAgain();
    }
  }

  async #openAgain(): Promise<void> {
    const { address: { host }, fetch, tls, clock, log } = this.#options;
    let failures = 0;
    while (!this.#isStopping) {
      try {
        this.#listener = await listen({ host, port: this.port, isForPeers: true, tls: tls.certificate }, fetch, log);
        return;
      } catch (error) {
        const reason = (error as Error).message;
        if (++failures === SAID_FAILURES) log.error(`other nodes cannot reach me: ${reason}`, {}, { reason });
        await new Promise<void>((resolve) => clock.after(RETRY_MS, resolve));
      }
    }
  }
}
