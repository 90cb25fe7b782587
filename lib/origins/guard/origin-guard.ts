/** Guards a group's origin: a limit for the whole cluster, a queue, a circuit breaker, and retries within a budget. */
import { type Backoff, backoffMs, type Random } from "../../core/base/time/backoff.ts";
import type { Clock } from "../../core/base/clock.ts";
import type { Log } from "../../core/base/log.ts";
import { pause } from "../../core/base/time/timeout.ts";
import {
  NotFoundError,
  OriginError,
  OriginTimeoutError,
  OriginUnreachableError,
  OverloadedError,
  PassThroughError,
  RequestBodyError,
} from "../../core/errors.ts";
import type { ForwardedAnswer, ForwardedRequest, LoadContext } from "../../core/ports.ts";
import { type PeerRecord, type Roster, rosterOf } from "../../core/roster.ts";
import type { Answer } from "../../core/value.ts";
import { followed, LEFT } from "../followed.ts";
import type { CheckedOrigin } from "../origin.ts";
import { UnansweredError } from "../unanswered.ts";
import { OriginBreaker } from "./origin-breaker.ts";
import { OwnShare } from "./own-share.ts";
import { type GuardPolicy, isGuarded } from "./policy.ts";
import { RetryBudget } from "./retry-budget.ts";
import { sharesOf } from "./shares.ts";
import { Slots } from "./slots.ts";

/** The longest difference between two nodes' times of learning a roster. Chosen: NATS takes some milliseconds. */
const SPREAD_MS = 2_000;
/**
 * How long the slot of a cancelled request stays taken, as the origin may notice the cancellation late or never.
 * Chosen.
 */
const GIVEN_UP_MS = 1_000;
/** Chosen: most short faults are over by then. */
const RETRY_PAUSE: Backoff = { firstMs: 50, mostMs: 1_000 };

export interface GuardOptions {
  readonly group: string;
  readonly policy: GuardPolicy;
  /** This node's record, as it is listed. */
  readonly self: Pick<PeerRecord, "name" | "incarnation">;
  /** How long one load may take, in milliseconds. */
  readonly loadTimeoutMs: number;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when this node may load from now on, so that the result of `ownersIn` has changed. */
  readonly onShare: () => void;
  /** The group's guard with its former policy; its requests still count. @default none */
  readonly before?: OriginGuard | undefined;
  /** @default Math.random */
  readonly random?: Random;
}

/** Plain numbers, for /stats. */
export interface GuardFigures {
  /** Requests at the origin now, including those that were given up a moment ago. */
  readonly running: number;
  readonly queued: number;
  /** How many requests this node may have at the origin now; null: no limit. */
  readonly limit: number | null;
  /** This node's share by the latest roster, which it may use after the grace period. */
  readonly share: number | null;
  /** Requests that were refused: the queue was full, or the wait too long. */
  readonly refused: number;
  /** Requests that the breaker has refused. */
  readonly broken: number;
  readonly breaker: "closed" | "open" | "half-open" | null;
  readonly retries: number;
}

/** The guard of a group's origin; `undefined`: its policy needs none. */
export function guardOf(origin: CheckedOrigin, options: GuardOptions): OriginGuard | undefined {
  return isGuarded(options.policy) ? new OriginGuard(origin, options) : undefined;
}

/**
 * An origin whose requests follow the group's {@link GuardPolicy}.
 *
 * The limit counts for the whole cluster: each node has a share of it by the roster (see {@link sharesOf}), which
 * shrinks at once and grows after a grace period (see {@link OwnShare}). A node without a share loads nothing, so it
 * must own no key: `ownersIn` gives the roster for picking owners, and `mayLoad` says whether to accept loads for
 * peers.
 */
export class OriginGuard implements CheckedOrigin {
  /** Like the origin's, but holds a slot until its body has ended; never retried. */
  readonly forward: CheckedOrigin["forward"];
  readonly changedBy: CheckedOrigin["changedBy"];
  readonly #origin: CheckedOrigin;
  readonly #options: GuardOptions;
  readonly #breaker: OriginBreaker | undefined;
  readonly #budget: RetryBudget;
  readonly #share: OwnShare;
  readonly #slots: Slots;
  #wasListed: boolean;
  /** Another guard has taken over the share and the slots. */
  #isFormer = false;
  /** Whether this node could load when `ownersIn` was asked last. */
  #isOwner = false;
  /**
   * Whether the breaker's latest failure was that this node could not reach the origin, which other nodes may still
   * reach.
   */
  #isUnreachable = false;
  #refused = 0;
  #broken = 0;
  #retries = 0;

  constructor(origin: CheckedOrigin, options: GuardOptions) {
    const { policy: { maxQueued, queueTimeoutMs, retryBudget }, clock, loadTimeoutMs, before } = options;
    const shareOptions = {
      clock,
      graceMs: loadTimeoutMs + GIVEN_UP_MS + SPREAD_MS,
      onGrown: () => this.#grown(),
    };
    const slotsOptions = { clock, maxQueued, queueTimeoutMs, limit: () => this.#limit };
    this.#origin = origin;
    this.#options = options;
    this.#breaker = this.#makeBreaker();
    this.#budget = new RetryBudget(retryBudget);
    this.#share = before === undefined ? new OwnShare(shareOptions) : before.#share;
    this.#slots = before === undefined ? new Slots(slotsOptions) : before.#slots;
    this.#share.options = shareOptions;
    this.#slots.options = slotsOptions;
    this.#wasListed = before !== undefined && before.#wasListed;
    if (before !== undefined) {
      before.#isFormer = true;
      before.#origin.retire?.();
    }
    const { forward, changedBy } = origin;
    this.forward = forward && ((request, signal) => this.#forward(forward.bind(origin), request, signal));
    this.changedBy = changedBy?.bind(origin);
    this.#limited();
  }

  /** Throws as the origin does. @throws OverloadedError too many wait, the wait was too long, or the breaker is open */
  async load(key: string, signal: AbortSignal, context?: LoadContext): Promise<Answer> {
    await this.#take(signal);
    try {
      const answer = await this.#tried(key, signal, context);
      this.#leave(signal.aborted);
      return answer;
    } catch (error) {
      this.#leave(signal.aborted || error instanceof OriginTimeoutError);
      throw error;
    }
  }

  check(): Promise<string | undefined> {
    return this.#origin.check();
  }

  close(): Promise<void> {
    if (!this.#isFormer) this.#share.close();
    return this.#origin.close();
  }

  /**
   * Takes a new roster of the group.
   *
   * @param isStandIn nobody is listed, and the roster has this node in the place of a list: that says nothing of the others
   * @returns it, with the nodes that may load nothing as draining ones: they are no owners. To be asked for again at `onShare`
   */
  ownersIn(roster: Roster, isStandIn = false): Roster {
    const { policy: { maxConcurrent }, group, self } = this.#options;
    if (maxConcurrent === null) return roster;
    const serving = roster.peers.filter(({ state }) => state === "serving");
    const shares = sharesOf(maxConcurrent, group, serving);
    if (!isStandIn) this.#note(roster, shares);
    this.#isOwner = this.mayLoad;
    const hasOthers = serving.some(({ name }) => name !== self.name && shares.get(name)! > 0);
    const isOwner = ({ name }: PeerRecord) => name === self.name ? this.mayLoad || !hasOthers : shares.get(name) !== 0;
    const peers = roster.peers.map((peer) => isOwner(peer) ? peer : { ...peer, state: "draining" as const });
    return rosterOf(group, roster.revision, peers);
  }

  /** Whether this node has a share that it may use. If not, it must decline loads for peers. */
  get mayLoad(): boolean {
    return this.#limit > 0;
  }

  figures(): GuardFigures {
    const isLimited = this.#options.policy.maxConcurrent !== null;
    return {
      running: this.#slots.taken,
      queued: this.#slots.queued,
      limit: isLimited ? this.#share.now : null,
      share: isLimited ? this.#share.next : null,
      refused: this.#refused,
      broken: this.#broken,
      breaker: this.#breaker?.state ?? null,
      retries: this.#retries,
    };
  }

  get #limit(): number {
    return this.#options.policy.maxConcurrent === null ? Infinity : this.#share.now;
  }

  #note({ peers }: Roster, shares: ReadonlyMap<string, number>): void {
    const { self } = this.#options;
    const own = peers.find(({ name }) => name === self.name);
    const isListed = own?.incarnation === self.incarnation;
    const isFirst = isListed && !this.#wasListed && peers.length === 1;
    this.#wasListed ||= isListed;
    this.#share.set(isListed ? shares.get(self.name) ?? 0 : 0, isFirst);
    this.#limited();
  }

  /** Ends idle connections: they would add to the connections that the other nodes may open now. */
  #limited(): void {
    this.#origin.keepIdle?.(this.#limit);
    this.#slots.serve();
  }

  #grown(): void {
    this.#limited();
    if (!this.#isOwner && this.mayLoad) this.#options.onShare();
  }

  async #take(signal: AbortSignal): Promise<void> {
    try {
      await this.#slots.take(signal);
    } catch (error) {
      if (error instanceof OverloadedError) this.#refused++;
      throw error;
    }
  }

  /** @param isGivenUp whether the request was cancelled, which the origin may not know yet */
  #leave(isGivenUp: boolean): void {
    if (isGivenUp && this.#options.policy.maxConcurrent !== null) {
      this.#options.clock.after(GIVEN_UP_MS, () => this.#slots.release());
    } else this.#slots.release();
  }

  /** A retry keeps its slot while it waits, so that another load does not ask the failing origin in its place. */
  async #tried(key: string, signal: AbortSignal, context: LoadContext | undefined): Promise<Answer> {
    const { policy, clock, random = Math.random } = this.#options;
    this.#budget.earn();
    this.#admit();
    for (let attempt = 0;; attempt++) {
      const startedAtMs = clock.nowMs();
      try {
        const answer = await this.#origin.load(key, signal, context);
        this.#breaker?.ended(startedAtMs, isFault(answer.status));
        return answer;
      } catch (error) {
        this.#failed(error, startedAtMs, signal);
        if (!isWithoutAnswer(error) || signal.aborted || attempt >= policy.retries) throw error;
        if (!this.#budget.spend()) throw error;
        await pause(clock, backoffMs(attempt, RETRY_PAUSE, random), signal);
        if (signal.aborted || this.#breaker?.admit() === false) throw error;
        this.#retries++;
      }
    }
  }

  async #forward(
    forward: NonNullable<CheckedOrigin["forward"]>,
    request: ForwardedRequest,
    signal: AbortSignal,
  ): Promise<ForwardedAnswer> {
    await this.#take(signal);
    const startedAtMs = this.#options.clock.nowMs();
    let answer: ForwardedAnswer;
    try {
      this.#admit();
      answer = await forward(request, signal);
    } catch (error) {
      this.#failed(error, startedAtMs, signal);
      this.#leave(signal.aborted || isGivenUp(error));
      throw error;
    }
    const isBad = isFault(answer.status);
    // For the breaker's probe the status is enough. Other requests must not wait for a long body to end.
    const isTold = isBad || this.#breaker?.state === "half-open";
    if (isTold) this.#breaker?.ended(startedAtMs, isBad);
    let isOver = false;
    const over = (error?: unknown) => {
      if (isOver) return;
      isOver = true;
      signal.removeEventListener("abort", gone);
      if (!isTold && error instanceof OriginError && !signal.aborted) this.#failed(error, startedAtMs, signal);
      else if (!isTold) this.#breaker?.ended(startedAtMs, false);
      this.#leave(signal.aborted || isGivenUp(error));
    };
    const gone = () => over();
    signal.addEventListener("abort", gone);
    if (signal.aborted) gone();
    return { ...answer, body: followed(answer.body, over) };
  }

  /**
   * @throws OverloadedError the breaker is open; OriginUnreachableError it is open because this node has no way to the
   * origin
   */
  #admit(): void {
    if (this.#breaker?.admit() !== false) return;
    this.#broken++;
    if (this.#isUnreachable) throw new OriginUnreachableError("this node could not reach the origin a while ago");
    throw new OverloadedError("the origin has failed too often: it is not asked for a while");
  }

  /** Tells the breaker, if the error says something about the origin. */
  #failed(error: unknown, startedAtMs: number, signal: AbortSignal): void {
    if (signal.aborted) {
      if (signal.reason instanceof OriginTimeoutError) this.#breaker?.ended(startedAtMs, true);
    } else if (error instanceof OriginError) {
      this.#isUnreachable = error instanceof OriginUnreachableError;
      this.#breaker?.ended(startedAtMs, true);
    } else if (error instanceof NotFoundError || error instanceof PassThroughError) {
      this.#breaker?.ended(startedAtMs, false);
    }
  }

  #makeBreaker(): OriginBreaker | undefined {
    const { policy: { breakerShare, breakerPauseMs }, group, clock, log } = this.#options;
    if (breakerShare === null) return undefined;
    return new OriginBreaker({
      share: breakerShare,
      pauseMs: breakerPauseMs,
      clock,
      onOpened: (failures, loads) => {
        const facts = { group, failures, loads, pauseMs: breakerPauseMs };
        log.warn(
          `the origin of ${group} fails: ${failures} of ${loads} requests. It is not asked for a while`,
          {},
          facts,
        );
      },
      onClosed: () => log.info(`the origin of ${group} answers again`, {}, { group }),
    });
  }
}

/** Whether the origin may still be at work on a request that ended so. */
function isGivenUp(error: unknown): boolean {
  return error === LEFT || error instanceof OriginTimeoutError || error instanceof RequestBodyError;
}

/** Whether a load that failed so may be tried again. */
function isWithoutAnswer(error: unknown): boolean {
  return error instanceof UnansweredError || error instanceof OriginUnreachableError;
}

/** Whether a site's status means that the site fails. */
function isFault(status = 200): boolean {
  return status >= 500;
}
