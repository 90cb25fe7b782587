/**
 * Why a connection failed, for people. Bun 1.4 says ECONNREFUSED also for an unreachable host or network; Deno says
 * EHOSTUNREACH or ENETUNREACH. Without the hint an operator would search for the fault at the wrong server.
 */
export function connectFault(message: string): string {
  return message.includes("ECONNREFUSED") ? `${message} (refused, or no way there)` : message;
}
