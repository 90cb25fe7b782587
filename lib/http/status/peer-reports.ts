/** The other nodes' reports for the page, fetched over the links between nodes. */
import * as v from "valibot";
import type { Clock } from "../../core/base/clock.ts";
import { withTimeout } from "../../core/base/time/timeout.ts";
import type { Finding } from "../figures.ts";
import type { NodeFace } from "../ports.ts";
import { worstFirst } from "./findings.ts";
import { byCounter } from "./rates.ts";

/** A peer is asked again after this time. Chosen: a report has a few kilobytes, and few people look at a page. */
const AGAIN_MS = 2_000;
/**
 * How many peers are asked at once; those asked longest ago come first. Chosen: with 300 nodes each is asked every 10
 * s.
 */
const MAX_ASKED = 64;
/** How long a page waits for reports; a later report is shown next time. Chosen: too short to notice. */
const WAIT_MS = 250;
/** How long a report counts. Chosen: longer than asking 300 nodes in turn takes. */
const TOLD_MS = 15_000;
/** Findings of peers on one page. Chosen: an operator reads the first ones. */
const MAX_FINDINGS = 50;

const count = v.optional(v.number(), 0);
const histogram = v.object({ count: v.number(), sumSeconds: v.number(), buckets: v.record(v.string(), v.number()) });
const latelySchema = v.object({
  perSecond: v.object(byCounter(() => count)),
  latency: v.optional(v.object({ client: histogram, hop: histogram, origin: histogram })),
});
const groupSchema = v.object({
  gets: count,
  serverRequests: count,
  cacheHits: count,
  peerLoads: count,
  originLoads: count,
  localLoadErrs: count,
  peerErrors: count,
  mainCache: v.optional(v.object({ memoryBytes: count })),
  hotCache: v.optional(v.object({ memoryBytes: count, hits: count })),
  about: v.optional(v.object({ origin: v.string(), lifetime: v.string(), budgetBytes: v.number() })),
  lately: v.optional(latelySchema),
});
/** A report of another release may have more fields or fewer. */
const reportSchema = v.object({
  ready: v.optional(v.boolean(), true),
  memoryBytes: v.optional(v.number()),
  groups: v.record(v.string(), groupSchema),
  findings: v.optional(
    v.array(v.object({
      what: v.string(),
      about: v.optional(v.string()),
      since: v.pipe(v.string(), v.isoTimestamp()),
      detail: v.string(),
      severity: v.picklist(["error", "warning", "notice"]),
    })),
    [],
  ),
});

/** The parts of another node's report that the page shows. */
export type PeerReport = v.InferOutput<typeof reportSchema>;

interface Told {
  askedAtMs: number;
  toldAtMs: number;
  report: PeerReport | undefined;
}

export interface PeerReportsOptions {
  readonly clock: Clock;
  readonly ask: NodeFace["reportOfPeer"];
}

/** The peers' latest reports. Peers are asked only while somebody looks, and no more often when many look. */
export class PeerReports {
  readonly #options: PeerReportsOptions;
  readonly #told = new Map<string, Told>();
  readonly #asking = new Set<Promise<void>>();

  constructor(options: PeerReportsOptions) {
    this.#options = options;
  }

  /** The reports of these peers from the last 15 s, by name. Takes 250 ms at most; never throws. */
  async of(names: readonly string[]): Promise<ReadonlyMap<string, PeerReport>> {
    const { clock, ask } = this.#options;
    if (ask === undefined) return new Map();
    const listed = new Set(names);
    for (const name of this.#told.keys()) if (!listed.has(name)) this.#told.delete(name);
    const askedAtMs = (name: string) => this.#told.get(name)?.askedAtMs ?? -Infinity;
    const due = names.filter((name) => askedAtMs(name) <= clock.nowMs() - AGAIN_MS);
    due.sort((a, b) => askedAtMs(a) < askedAtMs(b) ? -1 : 1);
    for (const name of due.slice(0, MAX_ASKED)) this.#ask(name, ask);
    if (this.#asking.size > 0) await withTimeout(clock, WAIT_MS, () => Promise.all(this.#asking), undefined);
    const sinceMs = clock.nowMs() - TOLD_MS;
    return new Map(
      [...this.#told].flatMap(([name, { report, toldAtMs }]) =>
        report === undefined || toldAtMs < sinceMs ? [] : [[name, report] as const]
      ),
    );
  }

  #ask(name: string, ask: NonNullable<NodeFace["reportOfPeer"]>): void {
    const { clock } = this.#options;
    const told = this.#told.get(name) ?? { askedAtMs: 0, toldAtMs: -Infinity, report: undefined };
    told.askedAtMs = clock.nowMs();
    this.#told.set(name, told);
    // An unreachable peer is already one of this node's findings.
    const asking = ask(name).catch(() => undefined).then((report) => {
      this.#asking.delete(asking);
      const { success, output } = v.safeParse(reportSchema, report);
      if (success) Object.assign(told, { report: output, toldAtMs: clock.nowMs() });
    });
    this.#asking.add(asking);
  }
}

/** Findings that every node has: they are shown once. */
const SEEN_BY_ALL: ReadonlySet<string> = new Set(["peer-lost", "bad-record", "bad-definition", "policies-differ"]);
/** Findings only for the peer's own page: it starts or leaves, or waits for a restart. */
const OF_ITS_PAGE: ReadonlySet<string> = new Set(["not-ready", "needs-restart", "more"]);
/** The most nodes named for one finding. Chosen. */
const MAX_TELLERS = 3;

type ToldFinding = PeerReport["findings"][number];

/**
 * The findings of the fleet, the worst first: this node's own, and those that only other nodes have. A finding of several
 * nodes is one line.
 */
export function fleetFindings(own: readonly Finding[], peers: ReadonlyMap<string, PeerReport>): readonly Finding[] {
  const known = new Set(own.map(causeOf));
  const told = new Map<string, { readonly finding: ToldFinding; readonly names: string[] }>();
  for (const [name, { findings }] of peers) {
    for (const finding of findings) {
      const cause = causeOf(finding);
      if (OF_ITS_PAGE.has(finding.what) || known.has(cause)) continue;
      const others = told.get(cause);
      if (others === undefined) told.set(cause, { finding, names: [name] });
      else if (!others.names.includes(name)) others.names.push(name);
    }
  }
  const ofOthers = [...told.values()].slice(0, MAX_FINDINGS).map(({ finding, names }): Finding => {
    const tellers = SEEN_BY_ALL.has(finding.what) ? names.slice(0, 1) : names;
    const text = `${namesText(tellers)}: ${finding.detail}`;
    return { ...finding, detail: text } as Finding;
  });
  return worstFirst([...oncePerGroup(own), ...ofOthers]);
}

/** A node whose policy differs from all others has a finding for each of them: joins these in one line. */
function oncePerGroup(own: readonly Finding[]): Finding[] {
  const isOfPolicy = ({ what }: Finding) => what === "policies-differ";
  return own.flatMap((finding) => {
    if (!isOfPolicy(finding)) return [finding];
    const alike = own.filter((each) => isOfPolicy(each) && causeOf(each) === causeOf(finding));
    if (alike[0] !== finding) return [];
    const more = alike.length - 1;
    const others = more === 1 ? "1 more node differs" : `${more} more nodes differ`;
    return [more === 0 ? finding : { ...finding, detail: `${finding.detail}; ${others} too` }];
  });
}

/** Findings of one cause are shown once. Each node names another pair of nodes that differ, so the group is the cause. */
function causeOf({ what, about = "" }: { readonly what: string; readonly about?: string | undefined }): string {
  return what === "policies-differ" ? `${what} ${about.split(" at ")[0]}` : `${what} ${about}`;
}

function namesText(names: readonly string[]): string {
  const more = names.length - MAX_TELLERS;
  return names.slice(0, MAX_TELLERS).join(", ") + (more > 0 ? ` and ${more} more` : "");
}
