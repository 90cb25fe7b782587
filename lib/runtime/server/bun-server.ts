/** The server under Bun, with bounds on the silence of connections. */
import { WEBSOCKET_OPTIONS } from "./websocket.ts";
import { Bun, type BunServer, type Fetch } from "../globals.ts";

/** No bound: bodies are streamed to a site, and no other route reads one. Bun's own bound is 128 MiB. */
const MAX_REQUEST_BODY_BYTES = Number.MAX_SAFE_INTEGER;
/**
 * For a connection without a request, for a whole head, and for a client that reads nothing of its answer. Chosen:
 * malicious slow clients can keep others out for this long, and good clients come back this often.
 */
const IDLE_TIMEOUT_SECONDS = 30;
/** The longest that Bun allows. It is longer than the slowest load, as a connection that waits for an answer is not idle. */
const WAIT_TIMEOUT_SECONDS = 255;

/** Answers that may be silent for a long time between two pieces. */
const silent = new WeakSet<Response>();
const servers = new Set<BunServer>();

/** @throws Error it cannot listen at the address */
export async function bunServer(
  address: { hostname: string; port: number; reusePort: boolean },
  fetch: Fetch,
): Promise<{ readonly port: number; stop(): Promise<void>; relieve(): void }> {
  const { websocket } = await import("hono/bun");
  const server = Bun!.serve({
    ...address,
    fetch(request: Request, server: BunServer) {
      const answer = fetch(request, server);
      return answer instanceof Promise ? patient(answer, request, server) : answer;
    },
    idleTimeout: IDLE_TIMEOUT_SECONDS,
    maxRequestBodySize: MAX_REQUEST_BODY_BYTES,
    websocket: { ...websocket, ...WEBSOCKET_OPTIONS },
  });
  servers.add(server);
  return {
    port: server.port,
    stop() {
      servers.delete(server);
      return server.stop();
    },
    relieve: () => server.closeIdleConnections(),
  };
}

/** Waits for the answer. The connection is not idle meanwhile. Bun keeps a timeout until the next request. */
function patient(answer: Promise<Response>, request: Request, server: BunServer): Promise<Response> {
  server.timeout(request, WAIT_TIMEOUT_SECONDS);
  return answer.then((response) => {
    if (silent.has(response)) return withoutReasons(response);
    server.timeout(request, IDLE_TIMEOUT_SECONDS);
    return response;
  });
}

/** Bun prints the error of a broken stream, with its stack. Without an error it breaks the answer and prints nothing. */
function withoutReasons(response: Response): Response {
  const reader = response.body?.getReader();
  if (reader === undefined) return response;
  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const { value, done } = await reader.read();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch {
        controller.error();
      }
    },
    cancel: (reason) => reader.cancel(reason),
  }, { highWaterMark: 0 });
  return new Response(body, response);
}

/** Allows the answer to be silent for as long as a load takes. */
export function mayBeSilent(response: Response): void {
  if (Bun !== undefined) silent.add(response);
}

/** Whether everything was sent to the client. Only for Bun. */
export function isAnswered(request: Request): boolean {
  for (const server of servers) if (server.requestIP(request) !== null) return false;
  return true;
}

/** Ends the answer to this request if its client reads nothing for a second. Only for Bun. */
export function hurry(request: Request): void {
  for (const server of servers) if (server.requestIP(request) !== null) server.timeout(request, 1);
}
