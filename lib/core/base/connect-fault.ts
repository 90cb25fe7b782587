/**
 * Why a connection failed, for people. Bun 1.4 says ECONNREFUSED also where a host or a network cannot be reached, which
 * Deno tells apart (EHOSTUNREACH, ENETUNREACH): its word must not send an operator to a server that refuses nothing.
 */
export function connectFault(message: string): string {
  return message.includes("ECONNREFUSED") ? `${message} (refused, or no way there)` : message;
}
