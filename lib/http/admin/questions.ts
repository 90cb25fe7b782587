/** Operators' questions about keys: GET requests under `/_admin/`, which change nothing. */
import type { Clock } from "../../core/base/clock.ts";
import { BadKeyError } from "../../core/errors.ts";
import { jsonResponse } from "../json.ts";
import { decodeQueryKey, pathEnd, pathStart } from "../key.ts";
import type { NodeFace, ServedGroups } from "../ports.ts";
import { notAllowed, problemResponse } from "../problem.ts";
import { OF_OPERATORS } from "../security.ts";
import { explain, explainAtAll } from "./explain.ts";
import type { Gate } from "./gate.ts";
import { Refusal, unknownGroup } from "./refusal.ts";
import { changeIn, simulate } from "./simulate.ts";

/** Matches the path after `/_admin/`. */
const EXPLAIN = /^groups\/([^/]+)\/explain$/;
const SIMULATE = "simulate";

export interface QuestionsOptions {
  readonly node: NodeFace;
  readonly groups: ServedGroups;
  readonly gate: Gate;
  readonly clock: Clock;
}

/** The handlers of questions. They throw unexpected errors to the app, which answers. */
export class Questions {
  readonly #options: QuestionsOptions;

  constructor(options: QuestionsOptions) {
    this.#options = options;
  }

  /** @returns `undefined`: the path is not one of a question */
  answer(request: Request): Response | Promise<Response> | undefined {
    const { url, method } = request;
    const start = pathStart(url);
    const end = pathEnd(url, start);
    const rest = url.slice(start + "/_admin/".length, end);
    const [, groupName] = EXPLAIN.exec(rest) ?? [];
    if (groupName === undefined && rest !== SIMULATE) return undefined;
    const refusal = this.#options.gate.ask(request);
    if (refusal !== undefined) return refusal;
    if (method !== "GET" && method !== "HEAD") return notAllowed(method);
    const query = url.slice(end + 1);
    return groupName === undefined
      ? this.#told(() => this.#simulate(query))
      : this.#told(() => this.#explain(groupName, query));
  }

  #explain(groupName: string, query: string): object | Promise<object> {
    const { node, groups, clock } = this.#options;
    const served = groups.get(groupName);
    if (served === undefined) throw unknownGroup(groupName, groups);
    const [, rawKey, atAll] = /^key=([^&]*)(&nodes)?$/.exec(query) ?? [];
    if (rawKey === undefined) {
      throw new Refusal(400, "the query must be key= with the key, percent-encoded, and may end with &nodes");
    }
    const key = decodeQueryKey(rawKey, served.site !== undefined);
    return (atAll === undefined ? explain : explainAtAll)(node, groupName, served, key, clock.nowMs());
  }

  #simulate(query: string): Promise<object> {
    const { node, groups, clock } = this.#options;
    return simulate(node, groups, changeIn(query), clock);
  }

  async #told(ask: () => object | Promise<object>): Promise<Response> {
    try {
      return jsonResponse(await ask(), 200, OF_OPERATORS);
    } catch (error) {
      if (error instanceof Refusal) return problemResponse(error.problem);
      if (error instanceof BadKeyError) return problemResponse({ status: 400, detail: error.message });
      throw error;
    }
  }
}
