/** Text that comes in pieces, as lines. */

/** A line without an end is cut there: what the processes of a machine tell each other is never that long. */
const MAX_LINE_CHARS = 16 * 1024 * 1024;

/** @returns what to call with each piece; it calls `onLine` with each line that is complete, without its end */
export function lineSplitter(onLine: (line: string) => void): (piece: string) => void {
  let rest = "";
  return (piece) => {
    const lines = (rest + piece).split("\n");
    rest = lines.pop()!.slice(0, MAX_LINE_CHARS);
    for (const line of lines) onLine(line);
  };
}

/** Calls `onLine` with each line of UTF-8. A stream that breaks has ended: it never rejects. */
export async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
): Promise<void> {
  const split = lineSplitter(onLine);
  try {
    for await (const piece of stream.pipeThrough(new TextDecoderStream())) split(piece);
  } catch { /* who wrote has gone, and its exit code tells the rest */ }
}
