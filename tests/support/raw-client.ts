/** Sends one request exactly as given, over its own connection, so that no client normalises it. */
import { Buffer } from "node:buffer";
import { connect } from "node:net";
import { bodyOf } from "./framing.ts";
import { PATIENCE } from "./until.ts";

const ANSWER_TIMEOUT_MS = PATIENCE * 10_000;

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  readonly body: string;
}

/**
 * @param url of the node, without a slash at the end
 * @param request with its method, its target and its header lines; `Host` and `Connection: close` are added
 * @throws Error no answer within thirty seconds, or an answer that is not HTTP
 */
export function askRaw(url: string, request: {
  readonly method?: string;
  readonly target: string;
  readonly lines?: readonly string[];
  readonly body?: string;
}): Promise<RawAnswer> {
  const { method = "GET", target, lines = [], body = "" } = request;
  const { hostname, port, host } = new URL(url);
  const head = [`${method} ${target} HTTP/1.1`, `Host: ${host}`, "Connection: close", ...lines];
  return new Promise((resolve, reject) => {
    const socket = connect(Number(port), hostname);
    const chunks: Buffer[] = [];
    socket.setTimeout(ANSWER_TIMEOUT_MS, () => socket.destroy(new Error(`no answer to ${method} ${target}`)));
    socket.on("data", (chunk: Buffer) => chunks.push(chunk));
    socket.on("error", reject);
    socket.on("close", () => {
      try {
        resolve(read(Buffer.concat(chunks)));
      } catch (error) {
        reject(new Error(`${method} ${target}: ${(error as Error).message}`));
      }
    });
    socket.write(Buffer.from(`${head.join("\r\n")}\r\n\r\n${body}`, "latin1"));
  });
}

function read(received: Buffer): RawAnswer {
  const text = received.toString("latin1");
  const end = text.indexOf("\r\n\r\n");
  if (!text.startsWith("HTTP/1.1 ") || end < 0) throw new Error(`no HTTP: ${JSON.stringify(text.slice(0, 200))}`);
  const head = text.slice(0, end + 4);
  const [statusLine, ...lines] = text.slice(0, end).split("\r\n");
  const headers = new Map(lines.map((line) => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim()];
  }));
  const isFramed = headers.has("content-length") || headers.has("transfer-encoding");
  const status = Number(statusLine!.split(" ")[1]);
  const body = isFramed && status !== 304 ? bodyOf(received, head)?.body.toString("utf8") : "";
  if (body === undefined) throw new Error(`an answer that is cut: ${JSON.stringify(text.slice(0, 200))}`);
  return { status, headers, body };
}
