/** Why a fetch has failed, in words for the log: without what may be a secret, and without advice to programmers. */

/** Of a redirect's target a server may make the message as long as it likes. */
const MAX_REASON_CHARS = 500;

/**
 * The messages of an error and of its causes: Deno's own is only "fetch failed", and its cause tells why. Of each URL that
 * they repeat the login, the query and the fragment are left out. At most 500 characters.
 */
export function fetchReason(error: unknown): string {
  const messages: string[] = [];
  // A cause of itself would be one without end.
  for (let one = error; one !== undefined && messages.length < 4; one = causeOf(one)) messages.push(messageOf(one));
  const reason = messages.map(withoutAdvice).map(withoutSecrets).filter((message) => message !== "").join(": ");
  return reason.length <= MAX_REASON_CHARS ? reason : `${reason.slice(0, MAX_REASON_CHARS)}…`;
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function causeOf(error: unknown): unknown {
  return error instanceof Error ? error.cause ?? undefined : undefined;
}

/** Bun's, of a way that nobody has who only runs the program. */
function withoutAdvice(message: string): string {
  return message.replace(/\.? For more information, pass `verbose: true` in the second argument to fetch\(\)\.?/, "");
}

function withoutSecrets(message: string): string {
  return message
    // Deno repeats what stands in the header of a redirect as it came, with spaces too: nobody can tell where it ends.
    .replace(/^Invalid URL: .*/s, "the target of a redirect is no URL")
    .replaceAll(/:\/\/[^\s/?#]*@/g, "://")
    // A query may hold quotes and brackets: it ends at a space, and only what stands right before that is the sentence's.
    .replaceAll(/\?\S*?([)"'.,:;]{0,3})(?=\s|$)/g, "$1")
    .replaceAll(/(?<=\S)#\S*?([)"'.,:;]{0,3})(?=\s|$)/g, "$1");
}
