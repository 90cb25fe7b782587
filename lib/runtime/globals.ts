/** Bun and Deno as this folder uses them: no type package describes both, so each has the few members that are read here. */
import type { Foreign } from "./execve.ts";

export interface BunServer {
  readonly port: number;
  stop(closeActiveConnections?: boolean): Promise<void>;
}
export interface DenoServer {
  readonly addr: { port: number };
  shutdown(): Promise<void>;
}
/** Answers a request; under Bun the second argument is the server. */
export type Fetch = (request: Request, env?: unknown) => Response | Promise<Response>;

/** What both runtimes give of a child that has its standard input and output on pipes. */
interface Child {
  readonly pid: number;
  readonly stdout: ReadableStream<Uint8Array<ArrayBuffer>>;
  kill(signal: string): void;
}
interface BunChild extends Child {
  readonly stdin: { write(text: string): unknown; flush(): unknown };
  readonly exited: Promise<number>;
}
export interface Output {
  write(text: string): boolean;
  on(event: "error", listener: () => void): void;
  listenerCount(event: "error"): number;
}
interface DenoChild extends Child {
  readonly stdin: WritableStream<Uint8Array<ArrayBuffer>>;
  readonly status: Promise<{ code: number }>;
}

export const { Bun, Deno, process } = globalThis as unknown as {
  Bun?: {
    version: string;
    serve(options: Record<string, unknown>): BunServer;
    spawn(command: string[], options: Record<string, unknown>): BunChild;
  };
  Deno?: {
    version: { deno: string };
    serve(options: Record<string, unknown>, handler: Fetch): DenoServer;
    Command: new (program: string, options: Record<string, unknown>) => { spawn(): DenoChild };
    permissions: { querySync(descriptor: { name: string }): { state: string } };
  } & Foreign;
  process: {
    argv: string[];
    execArgv: string[];
    execPath: string;
    platform: string;
    execve?(file: string, args: string[], env: Record<string, string | undefined>): never;
    env: Record<string, string | undefined>;
    exit(code: number): never;
    on(event: string, listener: (...args: unknown[]) => void): void;
    stdin: { setEncoding(encoding: string): void; on(event: string, listener: (chunk: string) => void): void };
    stderr: Output & { isTTY?: boolean };
    stdout: Output;
  };
};
