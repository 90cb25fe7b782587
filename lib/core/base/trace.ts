/** What a request is known by on its way through the nodes, and the port to spans. The core knows no tracing library. */

/** Names a request in the logs and traces of every program on its way: this node, the owner, the origin. */
export class Trace {
  /** As the client gave it, or as a node made it; `undefined`: nobody has given one. */
  readonly requestId: string | undefined;
  /** Of W3C Trace Context: the span that the next step is a child of. */
  readonly traceparent: string | undefined;
  /** Never without `traceparent`. */
  readonly tracestate: string | undefined;
  /** Set when the request joins the load of another one, whose trace that load belongs to. */
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
  /** What further steps have as their parent. */
  readonly trace: Trace;
  /** Does work whose own spans, those of other libraries, are children of this one. */
  run<T>(work: () => T): T;
  /** Ends it once; a later call does nothing. @param error why the step failed; a text is the kind of the failure alone */
  end(attributes: Attributes, error?: unknown): void;
}

/**
 * `request`: a client's, over HTTP. `get`: a program's, through the library. `hop`: an ask of another node. `serve`: that
 * node's answer to it. `load`: a load from the origin.
 */
export type SpanKind = "request" | "get" | "hop" | "serve" | "load";

/** Records spans. */
export interface Tracing {
  /** Whether anybody records spans now; if not, no span is to be begun. Asked for each request. */
  readonly isOn: boolean;
  /** @param name of the span; a few in all, so never with a key in it */
  begin(kind: SpanKind, name: string, parent: Trace | undefined, attributes: Attributes): Span;
}

/** Chosen: longer keys are cut in spans. */
const MAX_KEY_UNITS = 256;

/** A key as spans tell it: that of a site has a query, which may hold a secret. */
export function keyShown(key: string): string {
  return key.slice(0, MAX_KEY_UNITS).replace(/\?.*$/s, "?…");
}

const UNRECORDED: Span = { trace: new Trace(), run: (work) => work(), end() {} };

/** Nobody records spans. */
export const NO_TRACING: Tracing = { isOn: false, begin: () => UNRECORDED };
