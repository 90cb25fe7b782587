/** The system's execve for Deno, which has none of its own. */

/** What Deno has for calls of functions that are not JavaScript. */
export interface Foreign {
  dlopen(file: string, symbols: object): { symbols: { execve(...of: (Uint8Array | BigUint64Array)[]): number } };
  UnsafePointer: { of(bytes: Uint8Array): object; value(pointer: object): bigint | number };
}

/**
 * Has another program take the place of this one, in the same process.
 *
 * @param file the program's path
 * @param args its command line, its own name first
 * @param env its environment; what is undefined is left out
 * @returns only when that cannot be done: then nothing has changed
 */
export function execve(
  { dlopen, UnsafePointer }: Foreign,
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): void {
  const encoder = new TextEncoder();
  const texts: Uint8Array[] = [];
  // What a list points at must outlive the call.
  const list = (all: readonly string[]) => {
    const pointers = all.map((text) => {
      texts.push(encoder.encode(`${text}\0`));
      return BigInt(UnsafePointer.value(UnsafePointer.of(texts.at(-1)!)));
    });
    return new BigUint64Array([...pointers, 0n]);
  };
  const environment = Object.entries(env).flatMap(([name, value]) => value === undefined ? [] : [`${name}=${value}`]);
  try {
    const libc = dlopen("libc.so.6", { execve: { parameters: ["buffer", "buffer", "buffer"], result: "i32" } });
    libc.symbols.execve(encoder.encode(`${file}\0`), list(args), list(environment));
  } catch { /* a system with another C library: the node runs as Deno has it */ }
}
