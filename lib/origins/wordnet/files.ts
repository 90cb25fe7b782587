/** Reads lines of WordNet's files: the line at a position, and the line of a word in a sorted file. */
import { type FileHandle, open } from "node:fs/promises";
import { OriginError } from "../../core/errors.ts";

/** Bytes per step of the binary search; the longest index line of WordNet 3.1 has 567. */
const INDEX_BLOCK_BYTES = 4096;
/** Bytes of the first read of a synset; nine of ten fit (measured). */
const SYNSET_BYTES = 1024;
/** A line longer than this is not WordNet's; the longest of 3.1 has 12,972. */
const MAX_LINE_BYTES = 64 * 1024;

const NEWLINE = 0x0a;

/** An open file that is read at positions. Reads share nothing, so any number may be in flight. */
export class DataFile {
  readonly path: string;
  readonly sizeBytes: number;
  readonly #handle: FileHandle;
  readonly #reads = new Set<Promise<unknown>>();

  private constructor(path: string, sizeBytes: number, handle: FileHandle) {
    this.path = path;
    this.sizeBytes = sizeBytes;
    this.#handle = handle;
  }

  static async open(path: string): Promise<DataFile> {
    const handle = await open(path, "r");
    const { size } = await handle.stat();
    return new DataFile(path, size, handle);
  }

  /** Up to `lengthBytes` from `offset` on; fewer only at the end of the file. */
  async read(offset: number, lengthBytes: number): Promise<Uint8Array<ArrayBuffer>> {
    const bytes = new Uint8Array(lengthBytes);
    let filled = 0;
    while (filled < lengthBytes) {
      const read = this.#handle.read(bytes, filled, lengthBytes - filled, offset + filled);
      this.#reads.add(read);
      const { bytesRead } = await read.finally(() => this.#reads.delete(read));
      if (bytesRead === 0) break;
      filled += bytesRead;
    }
    return bytes.subarray(0, filled);
  }

  /** The line that begins at `offset`, without its newline. */
  async lineAt(offset: number): Promise<string> {
    for (let lengthBytes = SYNSET_BYTES;; lengthBytes *= 8) {
      const bytes = await this.read(offset, lengthBytes);
      const end = bytes.indexOf(NEWLINE);
      if (end >= 0) return new TextDecoder().decode(bytes.subarray(0, end));
      if (lengthBytes >= MAX_LINE_BYTES || bytes.length < lengthBytes) throw broken(this.path, offset);
    }
  }

  /** Waits for the reads of cancelled lookups first: a closed descriptor's number may be reused for another file. */
  async close(): Promise<void> {
    await Promise.allSettled(this.#reads);
    await this.#handle.close();
  }
}

/** The index line of `lemma`, by binary search on byte offsets. */
export async function findLine(file: DataFile, lemma: string, signal: AbortSignal): Promise<string | undefined> {
  let low = 0;
  let high = file.sizeBytes;
  // Invariant: a line for the lemma lies in [low, high), and both are starts of lines.
  while (high > low) {
    signal.throwIfAborted();
    const last = high - low <= INDEX_BLOCK_BYTES;
    const middle = last ? low : low + Math.floor((high - low - INDEX_BLOCK_BYTES) / 2);
    const bytes = await file.read(middle, INDEX_BLOCK_BYTES);
    const text = new TextDecoder("latin1").decode(bytes);
    const first = middle === low ? 0 : text.indexOf("\n") + 1;
    const end = text.lastIndexOf("\n");
    if (end < first) throw broken(file.path, middle);
    const lines = text.slice(first, end).split("\n");
    if (lemma < lemmaIn(lines[0]!)) {
      if (last) return undefined;
      high = middle + first;
    } else if (lemma > lemmaIn(lines.at(-1)!)) {
      if (last) return undefined;
      low = middle + end + 1;
    } else {
      return lines.find((line) => lemmaIn(line) === lemma);
    }
  }
  return undefined;
}

/** The file begins with a licence whose lines are indented: an empty lemma, before every word. */
function lemmaIn(line: string): string {
  return line.slice(0, line.indexOf(" "));
}

/** The error for a file with wrong contents. */
export function broken(path: string, offset: number): OriginError {
  return new OriginError(`wordnet: ${path} is broken at byte ${offset}`);
}
