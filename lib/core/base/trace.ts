/** The identity of a request on its way through the nodes, and the port to spans. The core knows no tracing library. */

/** Identifies a request in the logs and traces of all programs on its path: this node, the owner, the origin. */
export class Trace {
  /** From the client, or made by a node. `undefined`: there is none. */
  readonly requestId: string | undefined;
  /** The parent span of the next step, as W3C Trace Context writes it. */
  readonly traceparent: string | undefined;
  /** Never without `traceparent`. */
  readonly tracestate: string | undefined;
  /** Set when the request joins a load that another request started: the trace of that other request. */
  joined: Trace | undefined = undefined;

  constructor(requestId?: string, traceparent?: string, tracestate?: string) {
    this.requestId = requestId;
    this.traceparent = traceparent;
    this.tracestate = tracestate;
  }
}

export type Attributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** A step of a request, as a tracing library records it. */
export interface Span {
  /** The trace for further steps, with this span as their parent. */
  readonly trace: Trace;
  /** Runs `work` so that spans of other libraries become children of this span. */
  run<T>(work: () => T): T;
  /** Ends the span. A later call does nothing. @param error why the step failed; a string is only the kind of failure */
  end(attributes: Attributes, error?: unknown): void;
}

/**
 * `request`: a client's HTTP request. `get`: a program's get through the library. `hop`: an ask of another node.
 * `serve`: that node's answer. `load`: a load from the origin.
 */
export type SpanKind = "request" | "get" | "hop" | "serve" | "load";

/** Records spans. */
export interface Tracing {
  /** Whether spans are recorded now. If not, do not begin one. Read at each request. */
  readonly isOn: boolean;
  /** @param name of the span; never contains a key, as there must be few names */
  begin(kind: SpanKind, name: string, parent: Trace | undefined, attributes: Attributes): Span;
}

/** Chosen: longer keys are cut in spans. */
const MAX_KEY_UNITS = 256;

/** A key as spans show it: cut, and without the query of a site's key, as it may hold a secret. */
export function keyShown(key: string): string {
  return key.slice(0, MAX_KEY_UNITS).replace(/\?.*$/s, "?…");
}

const UNRECORDED: Span = { trace: new Trace(), run: (work) => work(), end() {} };

/** Records nothing. */
export const NO_TRACING: Tracing = { isOn: false, begin: () => UNRECORDED };
