/**
 * The figures of `/stats` for Prometheus, in its text format 0.0.4 or as OpenMetrics 1.0.0.
 *
 * The figures are read when Prometheus asks. So serving a request counts each thing once, and needs nothing from this
 * folder.
 */
import { Counter, Gauge, type Metric, Registry, type RegistryContentType } from "@prometheus-io/client";
import { cumulative, type HistogramFigures } from "../../../core/measure/histogram.ts";
import { OF_OPERATORS } from "../../security.ts";
import {
  type MeteredNode,
  ofCache,
  ofCode,
  ofFinding,
  ofGroup,
  ofLink,
  ofNode,
  ofNodeInfo,
  ofPeer,
  ofRouteCode,
  ofWorker,
  type Row,
  timesOfGroup,
  timesOfNode,
} from "./rows.ts";
import { EMPTY, type Labelled, type Snapshot, snapshotOf } from "./snapshot.ts";

const OPEN_METRICS = "application/openmetrics-text";

/**
 * The metrics of one app. Each app has its own registries, since a process may have several nodes.
 *
 * The figures of several workers are not added up here. Prometheus must see when a restarted worker counts from 0
 * again, so that `sum without (worker)` is right.
 */
export class Metrics {
  readonly #text: Exposition;
  readonly #open: Exposition;

  /** @param common the names of the labels that distinguish the nodes */
  constructor(common: readonly string[] = []) {
    this.#text = new Exposition(Registry.PROMETHEUS_CONTENT_TYPE, common);
    this.#open = new Exposition(Registry.OPENMETRICS_CONTENT_TYPE, common);
  }

  /** Answers with the figures of these nodes, as OpenMetrics if the client asks for that. */
  async answer(request: Request, metered: readonly MeteredNode[]): Promise<Response> {
    const isOpen = request.headers.get("accept")?.includes(OPEN_METRICS) === true;
    const { contentType, body } = await (isOpen ? this.#open : this.#text).of(snapshotOf(metered));
    return new Response(body, {
      headers: {
        "content-type": contentType,
        "content-length": String(body.byteLength),
        "cache-control": "no-store",
        vary: "accept",
        ...OF_OPERATORS,
      },
    });
  }
}

/** All metrics in one of the two formats. */
class Exposition {
  readonly #registry: Registry<RegistryContentType>;
  readonly #isOpen: boolean;
  #snapshot = EMPTY;

  constructor(type: RegistryContentType, common: readonly string[]) {
    this.#registry = new Registry(type);
    this.#isOpen = type === Registry.OPENMETRICS_CONTENT_TYPE;
    const names = (...own: string[]) => [...common, ...own];
    if (common.length > 0) this.#register(ofWorker, names(), ({ workers }) => workers);
    this.#register(ofNodeInfo, names("name", "incarnation", "version", "runtime"), ({ infos }) => infos);
    this.#register(ofNode, names(), ({ nodes }) => nodes);
    this.#register(ofFinding, names("what"), ({ findings }) => findings);
    this.#register(ofRouteCode, names("route", "code"), ({ routeCodes }) => routeCodes);
    this.#registerTimes(timesOfNode, ({ nodes }) => nodes);
    this.#register(ofGroup, names("group"), ({ groups }) => groups);
    this.#register(ofCode, names("group", "code"), ({ codes }) => codes);
    this.#registerTimes(timesOfGroup, ({ groups }) => groups);
    this.#register(ofCache, names("group", "cache"), ({ caches }) => caches);
    this.#register(ofLink, names("peer"), ({ links }) => links);
    this.#register(ofPeer, names("peer"), ({ peers }) => peers);
  }

  async of(snapshot: Snapshot): Promise<{ contentType: string; body: Uint8Array<ArrayBuffer> }> {
    this.#snapshot = snapshot;
    const text = await this.#registry.metrics();
    return { contentType: this.#registry.contentType, body: new TextEncoder().encode(text) };
  }

  #register<Subject>(
    rows: readonly Row<Subject>[],
    labelNames: string[],
    subjects: (snapshot: Snapshot) => readonly Labelled<Subject>[],
  ): void {
    const now = () => subjects(this.#snapshot);
    for (const [name, help, value] of rows) {
      const Metric = name.endsWith("_total") ? Counter : Gauge;
      new Metric({
        name,
        help,
        labelNames,
        registers: [this.#registry],
        collect(this: Counter<string> | Gauge<string>) {
          // A counter cannot be set, and a peer that left must disappear.
          this.reset();
          // Without labels it would now be 0, but a missing figure is not 0.
          if (labelNames.length === 0) this.remove({});
          for (const [labels, subject] of now()) {
            const figure = value(subject);
            if (figure !== undefined) this.inc(labels, figure);
          }
        },
      });
    }
  }

  /**
   * The library's own histogram can only observe. This one is counted already, so it is written in the library's form.
   */
  #registerTimes<Subject>(
    rows: readonly Row<Subject, HistogramFigures>[],
    subjects: (snapshot: Snapshot) => readonly Labelled<Subject>[],
  ): void {
    for (const [name, help, value] of rows) {
      const get = () => {
        const values = subjects(this.#snapshot).flatMap(([labels, subject]) => {
          const figures = value(subject);
          return figures === undefined ? [] : samplesOf(name, labels, figures, this.#isOpen);
        });
        return Promise.resolve({ name, help, type: "histogram", values, aggregator: "sum" });
      };
      this.#registry.registerMetric({ name, help, type: "histogram", get } as unknown as Metric<string>);
    }
  }
}

function samplesOf(
  name: string,
  labels: Readonly<Record<string, string>>,
  figures: HistogramFigures,
  isOpen: boolean,
) {
  const { count, sumSeconds } = figures;
  const buckets = cumulative(figures).map(([bound, value]) => {
    // OpenMetrics requires a decimal point in every number.
    const le = isOpen && /^\d+$/.test(bound) ? `${bound}.0` : bound;
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value };
  });
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sumSeconds },
    { metricName: `${name}_count`, labels, value: count },
  ];
}
