/** Chosen: enough for most values of a dictionary. */
const FIRST_BYTES = 1024;

/** Chosen: for so few bytes a loop is faster than making a view. */
const BYTE_BY_BYTE = 32;

/** Collects pieces of bytes in one buffer that doubles. Many small pieces cost no more memory than one large piece. */
export class GrowingBytes {
  #buffer = new Uint8Array(0);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  /** Copies `bytes`, from `start` to `end`. */
  append(bytes: Uint8Array, start = 0, end = bytes.length): void {
    const length = this.#length + end - start;
    if (length > this.#buffer.length) this.#grow(length);
    if (end - start > BYTE_BY_BYTE) this.#buffer.set(bytes.subarray(start, end), this.#length);
    else for (let from = start, to = this.#length; from < end;) this.#buffer[to++] = bytes[from++]!;
    this.#length = length;
  }

  appendByte(byte: number): void {
    if (this.#length === this.#buffer.length) this.#grow(this.#length + 1);
    this.#buffer[this.#length++] = byte;
  }

  /** All bytes so far, without a copy: valid until the next call. */
  view(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  /** All bytes so far, in a buffer of exactly their length. The collection is then empty. */
  take(): Uint8Array<ArrayBuffer> {
    // `slice`: a value must not keep a buffer of up to twice its length alive.
    const taken = this.#length === this.#buffer.length ? this.#buffer : this.#buffer.slice(0, this.#length);
    this.#buffer = new Uint8Array(0);
    this.#length = 0;
    return taken;
  }

  /** Drops the bytes and keeps the buffer. */
  clear(): void {
    this.#length = 0;
  }

  #grow(length: number): void {
    const grown = new Uint8Array(Math.max(length, 2 * this.#buffer.length, this.#length === 0 ? 0 : FIRST_BYTES));
    grown.set(this.view());
    this.#buffer = grown;
  }
}
