/** The operators' token. The check reveals nothing about it. The node reads the file again when it changes. */
import type { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import { MAX_TOKEN_CHARS, readTokens } from "../../config/texts/admin-token.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";

/** The oldest reading of the file that may judge a request, in milliseconds. Chosen: reading a file takes 20 us. */
const REREAD_AFTER_MS = 1_000;
/** How long refusals are counted before a log line reports them, in milliseconds. Chosen. */
const TELL_AFTER_MS = 60_000;
const BEARER = /^bearer +([^ ]+) *$/i;

export interface AdminTokensOptions {
  /** Returns the text of the file; may throw. */
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

  /**
   * Whether `Authorization` of the request has one of the tokens. A check costs at most two hashes of 1,024 characters.
   */
  isIn(headers: Headers): boolean {
    this.#readAgain();
    const token = bearerOf(headers);
    if (token === undefined) return false;
    const isRight = isOneOf(token, this.#digests);
    if (!isRight) this.#tell();
    return isRight;
  }

  /** While the file is missing or half written, the last good reading counts, so operators are not locked out. */
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

  /** Guesses never lock anyone out, as a lock would stop operators too. A token has at least 16 characters. */
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
  // The header field may be long; a token is not.
  if (text === null || text.length > MAX_TOKEN_CHARS + 32) return undefined;
  return BEARER.exec(text)?.[1];
}

/** Takes constant time: digests have one length, and all are compared. */
function isOneOf(token: string, digests: readonly Buffer[]): boolean {
  const digest = digestOf(token);
  return digests.map((each) => timingSafeEqual(each, digest)).includes(true);
}

function digestOf(token: string): Buffer {
  return createHash("sha256").update(token).digest();
}
