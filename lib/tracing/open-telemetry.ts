/**
 * Records spans with the SDK that the program has set, through OpenTelemetry's API package. Without an SDK only `isOn`
 * runs.
 *
 * The API keeps one SDK for the whole process, so a node needs no option for it.
 */
import {
  type Context,
  context,
  createTraceState,
  type ProxyTracerProvider,
  ROOT_CONTEXT,
  type Span as ApiSpan,
  SpanKind as ApiKind,
  SpanStatusCode,
  trace as api,
  type Tracer,
  type TracerProvider,
} from "@opentelemetry/api";
import { type Attributes, type Span, type SpanKind, Trace, type Tracing } from "../core/base/trace.ts";
import { NotFoundError } from "../core/errors.ts";
import { spanNameIn, traceparentOf, tracestateIn } from "../core/semantics/trace-context.ts";

const KINDS: Readonly<Record<SpanKind, ApiKind>> = {
  request: ApiKind.SERVER,
  get: ApiKind.INTERNAL,
  hop: ApiKind.CLIENT,
  serve: ApiKind.SERVER,
  load: ApiKind.CLIENT,
};

/** The trace of a span in this process. It keeps the span's context for its children. */
class SpanTrace extends Trace {
  readonly context: Context;

  constructor(context: Context, span: ApiSpan, requestId: string | undefined) {
    const { traceId, spanId, traceFlags, traceState } = span.spanContext();
    const traceparent = traceparentOf({ traceId, spanId, flags: traceFlags & 3 });
    super(requestId, traceparent, tracestateIn(traceState?.serialize()));
    this.context = context;
  }
}

/** The tracing of nodes of this process. */
export class OpenTelemetry implements Tracing {
  readonly #version: string;
  #provider: TracerProvider | undefined;
  #tracer: Tracer | undefined;

  /** @param version of this library, as the instrumentation's */
  constructor(version: string) {
    this.#version = version;
  }

  get isOn(): boolean {
    return isSet(api.getTracerProvider());
  }

  /**
   * @param parent for a request, a get or a serve: the trace that the caller sent. An active span comes first, such as
   * the span of a server around this node
   */
  begin(kind: SpanKind, name: string, parent: Trace | undefined, attributes: Attributes): Span {
    const within = kind === "request" || kind === "get" ? activeOr(parent) : contextOf(parent);
    const span = this.#currentTracer().startSpan(name, { kind: KINDS[kind], attributes: told(attributes) }, within);
    return new RecordedSpan(span, api.setSpan(within, span), parent?.requestId);
  }

  /** Looks again each time: a program may set or replace the SDK after the node has started. */
  #currentTracer(): Tracer {
    const provider = api.getTracerProvider();
    if (provider !== this.#provider || this.#tracer === undefined) {
      this.#provider = provider;
      this.#tracer = provider.getTracer("muster", this.#version);
    }
    return this.#tracer;
  }
}

class RecordedSpan implements Span {
  readonly trace: Trace;
  readonly #span: ApiSpan;
  readonly #context: Context;
  #hasEnded = false;

  constructor(span: ApiSpan, within: Context, requestId: string | undefined) {
    this.#span = span;
    this.#context = within;
    this.trace = new SpanTrace(within, span, requestId);
  }

  run<T>(work: () => T): T {
    return context.with(this.#context, work);
  }

  end(attributes: Attributes, error?: unknown): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    const span = this.#span;
    span.setAttributes(told(attributes));
    const { joined } = this.trace;
    const leader = joined && api.getSpanContext(contextOf(joined));
    if (leader !== undefined) span.addLink({ context: leader, attributes: { "muster.link": "joined" } });
    if (error !== undefined) fail(span, error);
    span.end();
  }
}

/** The attributes that have a value. */
function told(attributes: Attributes): Record<string, string | number | boolean> {
  const found: Record<string, string | number | boolean> = {};
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) found[name] = value;
  return found;
}

/** A missing value, or a client that has gone, is not a failure of the step. */
function fail(span: ApiSpan, error: unknown): void {
  const { name, message } = error instanceof Error ? error : { name: String(error), message: "" };
  span.setAttribute("error.type", name);
  if (error instanceof NotFoundError || name === "AbortError") return;
  span.setStatus({ code: SpanStatusCode.ERROR, message });
}

/**
 * Until an SDK is set, the API gives a placeholder provider. Deno's own provider, and those of other SDKs, are real.
 */
function isSet(provider: TracerProvider): boolean {
  const proxy = provider as Partial<ProxyTracerProvider>;
  return proxy.getDelegateTracer === undefined || proxy.getDelegateTracer("muster") !== undefined;
}

function activeOr(parent: Trace | undefined): Context {
  const active = context.active();
  return api.getSpanContext(active) === undefined ? contextOf(parent, active) : active;
}

/** @param base the context that keeps other facts of the request, such as its baggage */
function contextOf(trace: Trace | undefined, base: Context = ROOT_CONTEXT): Context {
  if (trace instanceof SpanTrace) return trace.context;
  const name = trace?.traceparent === undefined ? undefined : spanNameIn(trace.traceparent);
  if (name === undefined) return base;
  const { traceId, spanId, flags } = name;
  const traceState = trace?.tracestate === undefined ? undefined : createTraceState(trace.tracestate);
  return api.setSpanContext(base, {
    traceId,
    spanId,
    traceFlags: flags,
    isRemote: true,
    ...(traceState && { traceState }),
  });
}
