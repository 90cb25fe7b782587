/** The workers of this machine as one of them sees the others: what each has done, asked at its own address. */
import { hostInUrl } from "../config/addresses.ts";
import type { MachineFace, NodeReport, WorkerReport } from "../http/ports.ts";
import { getJson } from "../registry/is-alive.ts";
import type { WorkerPlace, WorkerSetup } from "./messages.ts";

/** Whoever looks at the figures waits no longer for a worker that stands still. */
const REPORT_TIMEOUT_MS = 500;

/** Gathers the figures of all workers of a machine. */
export class Siblings implements MachineFace {
  readonly name: string;
  readonly url: string;
  readonly #self: string;
  readonly #host: string;
  #places: readonly WorkerPlace[];

  constructor({ name, machine, workers, config }: WorkerSetup) {
    this.name = machine.name;
    this.url = machine.url;
    this.#self = name;
    this.#host = hostInUrl(config.addr.host);
    this.#places = workers.map((worker) => ({ name: worker }));
  }

  /** Where they are from now on. */
  moved(places: readonly WorkerPlace[]): void {
    this.#places = places;
  }

  workers(own: NodeReport): Promise<readonly WorkerReport[]> {
    return Promise.all(this.#places.map((place) => this.#ask(place, own)));
  }

  async #ask({ name, port }: WorkerPlace, own: NodeReport): Promise<WorkerReport> {
    if (port === undefined) return name === this.#self ? { name, report: own } : { name, fault: "is not running" };
    const url = `http://${this.#host}:${port}`;
    if (name === this.#self) return { name, url, report: own };
    try {
      const report = await getJson(`${url}/stats`, REPORT_TIMEOUT_MS) as NodeReport;
      // Another process may have the port of one that has just ended.
      return report.name === name ? { name, url, report } : { name, url, fault: "is another one" };
    } catch {
      return { name, url, fault: `gave no answer within ${REPORT_TIMEOUT_MS} ms` };
    }
  }
}
