/** The members of Bun and Deno that this folder uses, as no type package describes both runtimes. */
import type { Foreign } from "./start/execve.ts";

export interface BunServer {
  readonly port: number;
  stop(closeActiveConnections?: boolean): Promise<void>;
  /** Ends the connections that got an answer and wait for nothing. Connections without any request yet stay. */
  closeIdleConnections(): void;
  /** Sets how long the request's connection may be silent, until the next request comes on it. */
  timeout(request: Request, seconds: number): void;
  /** `null`: the answer was sent or can no longer be sent. */
  requestIP(request: Request): { readonly address: string } | null;
}
export interface DenoServer {
  readonly addr: { port: number };
  /** Fails when the server ends by itself, as it does when it cannot accept a connection. */
  readonly finished: Promise<void>;
  shutdown(): Promise<void>;
}
/** Answers a request; under Bun `env` is the server. */
export type Fetch = (request: Request, env?: unknown) => Response | Promise<Response>;

/** A child process with pipes for standard input and output, on both runtimes. */
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
  readonly isTTY?: boolean;
  write(text: string | Uint8Array, written?: () => void): boolean;
  on(event: "error", listener: () => void): void;
  listenerCount(event: "error"): number;
}
interface Permission {
  readonly state: string;
  /** Whether a part of it is granted, such as some variables. */
  readonly partial?: boolean;
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
    build: { readonly standalone: boolean };
    serve(options: Record<string, unknown>, handler: Fetch): DenoServer;
    stdout: { write(bytes: Uint8Array): Promise<number> };
    Command: new (program: string, options: Record<string, unknown>) => {
      spawn(): DenoChild;
      outputSync(): { stdout: Uint8Array<ArrayBuffer> };
    };
    permissions: {
      querySync(descriptor: { name: string; command?: string }): Permission;
      requestSync(descriptor: { name: string }): Permission;
    };
  } & Foreign;
  process: {
    argv: string[];
    memoryUsage(): { readonly rss: number; readonly heapUsed: number };
    /** In microseconds. */
    cpuUsage(): { readonly user: number; readonly system: number };
    execArgv: string[];
    execPath: string;
    platform: string;
    pid: number;
    execve?(file: string, args: string[], env: Record<string, string | undefined>): never;
    env: Record<string, string | undefined>;
    exit(code: number): never;
    on(event: string, listener: (...args: unknown[]) => void): void;
    removeAllListeners(event: string): void;
    stdin: { setEncoding(encoding: string): void; on(event: string, listener: (chunk: string) => void): void };
    stderr: Output;
    stdout: Output;
  };
};
