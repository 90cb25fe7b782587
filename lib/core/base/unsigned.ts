/**
 * Stands for bytes that do not carry the cluster's signature, where one is asked for; known by identity. The readers of
 * records, definitions and invalidations refuse it, and say so in these words.
 */
export const UNSIGNED: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/** Why `UNSIGNED` is refused. */
export const UNSIGNED_FAULT = "it is not signed with the secret of --secret-file";
