/** Asks for Deno's permissions if the user gave none on the command line. */
import { Deno, process } from "../globals.ts";

const NEEDED = ["net", "read", "env", "run"] as const;

/**
 * Asks for a node's permissions in four prompts; Deno by itself would ask 33 times, for each variable and address. If
 * nobody can answer, or the answer is no, it says what to type and exits with code 2. It does nothing if the user gave
 * any permission, by a flag or by `-P`, and nothing under Bun.
 */
export function askForPermissions(): void {
  const permissions = Deno?.permissions;
  if (permissions === undefined) return;
  const isGiven = NEEDED.some((name) => {
    const { state, partial } = permissions.querySync({ name });
    return state === "granted" || partial === true;
  });
  if (isGiven) return;
  // `run` is optional: without it a node only cannot start the bundled NATS server, and says so.
  const missing = NEEDED.filter((name) => permissions.requestSync({ name }).state !== "granted" && name !== "run");
  if (missing.length === 0) return;
  console.error(
    `muster needs the permissions of deno.json: type "deno run -P main.ts" (or "deno run -A main.ts" for all of them)`,
  );
  process.exit(2);
}
