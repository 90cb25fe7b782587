/** What the other nodes tell of themselves for the page, asked over the links between them. */
import * as v from "valibot";
import type { Clock } from "../../core/base/clock.ts";
import { withTimeout } from "../../core/base/time/timeout.ts";
import type { Finding, NodeFace } from "../ports.ts";
import { worstFirst } from "./findings.ts";

/** A peer is asked again after this time. Chosen: a report has some kilobytes, and few look at a page. */
const AGAIN_MS = 2_000;
/** Peers asked at once, those first that were asked longest ago. Chosen: at 300 nodes each is asked every 10 s. */
const MAX_ASKED = 64;
/** How long a page waits for those that are asked; what comes later is on the next one. Chosen: nobody notices. */
const WAIT_MS = 250;
/** What a peer told counts for so long. Chosen: longer than 300 nodes take to be asked in turn. */
const TOLD_MS = 15_000;
/** Findings of peers on one page. Chosen: an operator reads the first ones. */
const MAX_FINDINGS = 50;

const count = v.optional(v.number(), 0);
/** Of another release a report may have more, or less. */
const reportSchema = v.object({
  ready: v.optional(v.boolean(), true),
  memoryBytes: v.optional(v.number()),
  groups: v.record(v.string(), v.object({ gets: count, cacheHits: count })),
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

/** What the page shows of a node. */
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

/** What the peers told last. They are asked only while somebody looks, however many do. */
export class PeerReports {
  readonly #options: PeerReportsOptions;
  readonly #told = new Map<string, Told>();
  readonly #asking = new Set<Promise<void>>();

  constructor(options: PeerReportsOptions) {
    this.#options = options;
  }

  /** The reports, by name, of those of these peers that told one in the last 15 s. Within 250 ms; never throws. */
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
    // A peer that cannot be reached is among the findings of this node already.
    const asking = ask(name).catch(() => undefined).then((report) => {
      this.#asking.delete(asking);
      const { success, output } = v.safeParse(reportSchema, report);
      if (success) Object.assign(told, { report: output, toldAtMs: clock.nowMs() });
    });
    this.#asking.add(asking);
  }
}

/**
 * The findings of the fleet: this node's own, and the errors and warnings of others that it does not know itself; the worst
 * first. That a node is not ready stands beside its name: it starts or leaves.
 */
export function fleetFindings(own: readonly Finding[], peers: ReadonlyMap<string, PeerReport>): readonly Finding[] {
  const idOf = ({ what, about }: { readonly what: string; readonly about?: string | undefined }) => `${what} ${about}`;
  const known = new Set(own.map(idOf));
  const told = [...peers].flatMap(([name, { findings }]) =>
    findings
      .filter((finding) => finding.severity !== "notice" && finding.what !== "not-ready" && !known.has(idOf(finding)))
      .map((finding) => ({ ...finding, detail: `${name}: ${finding.detail}` }) as Finding)
  );
  return told.length === 0 ? own : worstFirst([...own, ...told.slice(0, MAX_FINDINGS)]);
}
