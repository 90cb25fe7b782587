/**
 * The receiver of an answer. Exactly one method is called, once; neither may throw. A promise's two functions fit. The
 * path of a get uses no promise: one per hop costs a tenth of the hop (measured).
 */
export interface Reply<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}
