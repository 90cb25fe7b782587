/** Splits a stream of text into lines. */

/** A longer line is cut. Chosen: far longer than any message between the processes of a machine. */
const MAX_LINE_CHARS = 16 * 1024 * 1024;

/** @returns a function for each piece of text; it calls `onLine` with each complete line, without its end */
export function lineSplitter(onLine: (line: string) => void): (piece: string) => void {
  let rest = "";
  return (piece) => {
    const lines = (rest + piece).split("\n");
    rest = lines.pop()!.slice(0, MAX_LINE_CHARS);
    for (const line of lines) onLine(line);
  };
}

/** Calls `onLine` with each line of UTF-8. It never rejects: a broken stream counts as ended. */
export async function readLines(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
  onLine: (line: string) => void,
): Promise<void> {
  const split = lineSplitter(onLine);
  try {
    for await (const piece of stream.pipeThrough(new TextDecoderStream())) split(piece);
  } catch { /* the writer has ended; its exit code tells how */ }
}
