/** Why a fetch has failed, in words for the log: without secrets, and without advice to programmers. */

/** A server chooses how long a redirect's target is, and messages repeat it. Chosen: a few lines of a log. */
const MAX_REASON_CHARS = 500;

/**
 * The messages of an error and of its causes: Deno's own is only "fetch failed", and its cause tells why. URLs in them
 * lose their login, query and fragment. At most 500 characters.
 */
export function fetchReason(error: unknown): string {
  const messages: string[] = [];
  // An error may be its own cause: four are enough.
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

/** Removes Bun's advice to programmers: an operator cannot follow it. */
function withoutAdvice(message: string): string {
  return message.replace(/\.? For more information, pass `verbose: true` in the second argument to fetch\(\)\.?/, "");
}

function withoutSecrets(message: string): string {
  return message
    // Deno repeats a redirect's header as it came. It may hold spaces, so its end in the message is unknown.
    .replace(/^Invalid URL: .*/s, "the target of a redirect is no URL")
    .replaceAll(/:\/\/[^\s/?#]*@/g, "://")
    // A query may hold quotes and brackets: it ends at a space, and punctuation right before that belongs to the sentence.
    .replaceAll(/\?\S*?([)"'.,:;]{0,3})(?=\s|$)/g, "$1")
    .replaceAll(/(?<=\S)#\S*?([)"'.,:;]{0,3})(?=\s|$)/g, "$1");
}
