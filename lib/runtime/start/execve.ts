/** Calls the system's execve for Deno, which has no function for it. */

/** Deno's functions for calls into system libraries. */
export interface Foreign {
  dlopen(file: string, symbols: object): { symbols: { execve(...of: (Uint8Array | BigUint64Array)[]): number } };
  UnsafePointer: { of(bytes: Uint8Array): object; value(pointer: object): bigint | number };
}

/**
 * Replaces this program by another one in the same process.
 *
 * @param file the program's path
 * @param args its command line, its own name first
 * @param env its environment; undefined values are left out
 * @returns only if it fails, and then nothing has changed
 */
export function execve(
  { dlopen, UnsafePointer }: Foreign,
  file: string,
  args: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): void {
  const encoder = new TextEncoder();
  const texts: Uint8Array[] = [];
  // Keeps the texts alive, as the lists hold only their addresses.
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
  } catch { /* another C library: the node runs without the settings */ }
}
