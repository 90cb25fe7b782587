/** Reads the cluster's secret from the text of a file. */

/** Chosen: 128 bits, if its characters are random bytes. */
const LEAST_BYTES = 16;
const MOST_LINES = 2;

/**
 * The secrets in the text of a file. The first line signs. A second line is the old or the new secret, which is also
 * accepted while the secret is replaced.
 *
 * @throws Error the fault, without the text
 */
export function secretsIn(text: string): readonly string[] {
  const lines = text.split(/\r?\n/).map((line) => line.trim()).filter((line) => line !== "");
  if (lines.length === 0 || lines.length > MOST_LINES) {
    throw new Error(`it must hold the secret in one line, or two secrets in two: it has ${lines.length} lines`);
  }
  if (lines.some((line) => new TextEncoder().encode(line).byteLength < LEAST_BYTES)) {
    throw new Error(`a secret must have at least ${LEAST_BYTES} bytes`);
  }
  return lines;
}
