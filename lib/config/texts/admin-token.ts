/** Reads the file of `--admin-token-file`. Faults show nothing of its contents. */

const MIN_TOKEN_CHARS = 16;
/** The longest token, in characters. Chosen. */
export const MAX_TOKEN_CHARS = 1_024;

/** Completes "must be …". */
export const TOKEN_FILE_RULE =
  `a file whose first line is the token, of ${MIN_TOKEN_CHARS} to 1,024 printable ASCII characters without spaces; ` +
  "a second line may be the old token, while it is replaced";

/**
 * The tokens in the file: the present one, then the old one if there is one. Spaces around a token are dropped.
 *
 * @returns the tokens, or the line that breaks the rule
 */
export function readTokens(text: string): { readonly tokens: readonly string[] } | { readonly fault: string } {
  const lines = text.replace(/^\uFEFF/, "").trimEnd().split("\n").map((line) => line.trim());
  if (lines.length > 2) return { fault: "it has more than two lines" };
  for (const [index, line] of lines.entries()) {
    const which = index === 0 ? "the first line" : "the second line";
    if (line.length < MIN_TOKEN_CHARS) return { fault: `${which} has fewer than ${MIN_TOKEN_CHARS} characters` };
    if (line.length > MAX_TOKEN_CHARS) return { fault: `${which} has more than ${MAX_TOKEN_CHARS} characters` };
    if (!/^[\x21-\x7e]+$/.test(line)) return { fault: `${which} has a character that is not printable ASCII` };
  }
  return { tokens: lines };
}
