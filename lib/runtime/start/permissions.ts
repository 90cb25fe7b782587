/** The permissions of Deno, for a user who gave none on the command line. */
import { Deno, process } from "../globals.ts";

const NEEDED = ["net", "read", "env", "run"] as const;

/**
 * Asks for what a node needs in four prompts; Deno by itself asks for each variable and address, 33 times. Where nobody
 * can answer, or the answer is no, it says what to type and ends the process with exit code 2. It does nothing once the
 * user has given some permission, by a flag or by `-P`, and nothing under Bun.
 */
export function askForPermissions(): void {
  const permissions = Deno?.permissions;
  if (permissions === undefined) return;
  const isGiven = NEEDED.some((name) => {
    const { state, partial } = permissions.querySync({ name });
    return state === "granted" || partial === true;
  });
  if (isGiven) return;
  // Without `run` a node only cannot start the bundled NATS server, and says so.
  const missing = NEEDED.filter((name) => permissions.requestSync({ name }).state !== "granted" && name !== "run");
  if (missing.length === 0) return;
  console.error(
    `muster needs the permissions of deno.json: type "deno run -P main.ts" (or "deno run -A main.ts" for all of them)`,
  );
  process.exit(2);
}
