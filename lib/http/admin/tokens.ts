/** The operators' token: checked without a hint at it, and read again when its file changes. */
import type { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import { MAX_TOKEN_CHARS, readTokens } from "../../config/texts/admin-token.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";

/** How old what was read of the file may be when a request is judged, in milliseconds. Chosen: a file is read in 20 us. */
const REREAD_AFTER_MS = 1_000;
/** For how long refusals are counted before a line tells of them, in milliseconds. Chosen. */
const TELL_AFTER_MS = 60_000;
const BEARER = /^bearer +([^ ]+) *$/i;

export interface AdminTokensOptions {
  /** The text of the file; may throw. */
  readonly readFile: () => string;
  readonly clock: Clock;
  readonly log: Log;
}

/** The tokens in the file of `--admin-token-file`: the present one, and the old one while it is replaced. */
export class AdminTokens {
  readonly #options: AdminTokensOptions;
  #digests: readonly Buffer[] = [];
  #readAtMs: number;
  #isFaultSaid = false;
  #refused = 0;

  /** @throws Error the file cannot be read, or holds no token; the message shows nothing of it */
  constructor(options: AdminTokensOptions) {
    this.#options = options;
    this.#readAtMs = options.clock.nowMs();
    this.#read();
  }

  /** Whether the request has a token in `Authorization`. Each costs at most two hashes of 1,024 characters. */
  isIn(headers: Headers): boolean {
    this.#readAgain();
    const token = bearerOf(headers);
    if (token === undefined) return false;
    const isRight = isOneOf(token, this.#digests);
    if (!isRight) this.#tell();
    return isRight;
  }

  /** A file that is away or half written for a moment locks nobody out: what was read last still counts. */
  #readAgain(): void {
    const { clock, log } = this.#options;
    const nowMs = clock.nowMs();
    if (nowMs - this.#readAtMs < REREAD_AFTER_MS) return;
    this.#readAtMs = nowMs;
    try {
      this.#read();
      this.#isFaultSaid = false;
    } catch (error) {
      if (this.#isFaultSaid) return;
      this.#isFaultSaid = true;
      const reason = (error as Error).message;
      log.warn(`cannot read the file of --admin-token-file again: ${reason}; the token that it held still counts`, {}, {
        reason,
      });
    }
  }

  #read(): void {
    const read = readTokens(this.#options.readFile());
    if ("fault" in read) throw new Error(read.fault);
    this.#digests = read.tokens.map(digestOf);
  }

  /** Nobody is locked out, whoever guesses: a guess takes 16 characters at least. */
  #tell(): void {
    const { clock, log } = this.#options;
    if (++this.#refused > 1) return;
    clock.after(TELL_AFTER_MS, () => {
      const refused = this.#refused;
      this.#refused = 0;
      const count = refused === 1 ? "1 request" : `${refused} requests`;
      log.warn(`refused ${count} with a wrong token for operators in the last minute`, {}, { refused });
    });
  }
}

/** Whether the request has this token in `Authorization`. */
export function hasToken(headers: Headers, expected: string): boolean {
  const token = bearerOf(headers);
  return token !== undefined && isOneOf(token, [digestOf(expected)]);
}

function bearerOf(headers: Headers): string | undefined {
  const text = headers.get("authorization");
  // A head may be long; no token is.
  if (text === null || text.length > MAX_TOKEN_CHARS + 32) return undefined;
  return BEARER.exec(text)?.[1];
}

/** In a time that tells nothing: digests have one length, and all are compared. */
function isOneOf(token: string, digests: readonly Buffer[]): boolean {
  const digest = digestOf(token);
  return digests.map((each) => timingSafeEqual(each, digest)).includes(true);
}

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
