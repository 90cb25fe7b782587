/** The other workers of this machine: one worker asks each for its figures, at its own address. */
import { hostInUrl } from "../config/texts/addresses.ts";
import type { NodeReport, WorkerReport } from "../http/figures.ts";
import type { MachineFace } from "../http/ports.ts";
import { getJson } from "../registry/get-json.ts";
import type { WorkerPlace, WorkerSetup } from "./messages.ts";

/** How long to wait for the figures of a worker that hangs. Chosen: a reader of the page accepts that wait. */
const REPORT_TIMEOUT_MS = 500;

/** Gathers the figures of all workers of the machine. */
export class Siblings implements MachineFace {
  readonly name: string;
  readonly url: string;
  readonly #self: string;
  readonly #host: string;
  readonly #statsToken: string;
  #places: readonly WorkerPlace[];

  constructor({ name, machine, workers, config, statsToken }: WorkerSetup) {
    this.name = machine.name;
    this.url = machine.url;
    this.#self = name;
    this.#host = hostInUrl(config.addr.host);
    this.#statsToken = statsToken;
    this.#places = workers.map((worker) => ({ name: worker }));
  }

  /** Takes the workers' new ports. */
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
      const report = await getJson(`${url}/stats`, REPORT_TIMEOUT_MS, {
        headers: {
          authorization: `Bearer ${this.#statsToken}`,
        },
      }) as NodeReport;
      // Another process may have taken the port of a worker that has just ended.
      return report.name === name ? { name, url, report } : { name, url, fault: "another worker answers at its port" };
    } catch {
      return { name, url, fault: `gave no answer within ${REPORT_TIMEOUT_MS} ms` };
    }
  }
}
