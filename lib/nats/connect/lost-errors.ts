/**
 * Handles errors of a socket that nats.js no longer listens to, as they would end this process.
 *
 * When a server refuses a login (at the start, or after a change of the password), it says so and resets the connection.
 * nats.js 2.29.3 (`_closed` in node_transport.js) then removes all listeners from the socket and destroys it.
 *
 * On Deno the reset has often been read by then, and its error is emitted a tick later without a listener: an uncaught
 * error. The same happens with the alert of a server that requires a client certificate (82 of 150 attempts). The error
 * is no news, as the caller of `connect` already got "Authorization Violation".
 *
 * On Bun no process was seen to end in this way, and this code does nothing: there uncaught errors are no events of the
 * global object.
 */
const resets: ReadonlySet<unknown> = new Set(["ECONNRESET", "EPIPE"]);
const tlsAlert = /^ERR_SSL_\w*_ALERT_/;
const calls: ReadonlySet<unknown> = new Set(["read", "write"]);

/** Ignores such errors from now on; any other uncaught error ends the process as before. Idempotent. */
export function passLostErrors(): void {
  // Always the same function, so it is registered only once.
  globalThis.addEventListener("error", pass);
}

function pass(event: ErrorEvent): void {
  const { code, syscall } = (event.error ?? {}) as { code?: unknown; syscall?: unknown };
  if ((resets.has(code) && calls.has(syscall)) || (typeof code === "string" && tlsAlert.test(code))) {
    event.preventDefault();
  }
}
