/**
 * Where an answer goes: one of both is called, once, and neither may throw. It is what a promise is made with, so a promise
 * can stand behind it; on the way of a get none does, as one promise a hop costs a tenth of the hop.
 */
export interface Reply<T> {
  resolve(value: T): void;
  reject(error: unknown): void;
}
