/** A real OpenTelemetry SDK for the process of a test or of a node. */
import { context, trace } from "@opentelemetry/api";
import { AsyncLocalStorageContextManager } from "@opentelemetry/context-async-hooks";
import {
  BasicTracerProvider,
  type ReadableSpan,
  SimpleSpanProcessor,
  type SpanExporter,
} from "@opentelemetry/sdk-trace-base";

/** What tests look at in a span. */
export interface ToldSpan {
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string | undefined;
  /** The spans that it is linked with, by their ids. */
  readonly links: readonly string[];
  /** 2: it failed. */
  readonly status: number;
  readonly attributes: Readonly<Record<string, unknown>>;
}

export function told(span: ReadableSpan): ToldSpan {
  const { name, kind, parentSpanContext, links, status, attributes } = span;
  const { traceId, spanId } = span.spanContext();
  const linked = links.map(({ context }) => context.spanId);
  return {
    name,
    kind,
    traceId,
    spanId,
    parentSpanId: parentSpanContext?.spanId,
    links: linked,
    status: status.code,
    attributes,
  };
}

/** Sets an SDK that gives each span to `take` when it ends. @returns what takes the SDK away again */
export function setSdk(take: (span: ToldSpan) => void): () => Promise<void> {
  const exporter: SpanExporter = {
    export(spans, done) {
      for (const span of spans) take(told(span));
      done({ code: 0 });
    },
    shutdown: () => Promise.resolve(),
  };
  const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(exporter)] });
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  trace.setGlobalTracerProvider(provider);
  return async () => {
    trace.disable();
    context.disable();
    await provider.shutdown();
  };
}
