/**
 * Replaces bytes that lack the required signature of the cluster. Compare it by identity. The readers of records,
 * definitions and invalidations refuse it with the text below.
 */
export const UNSIGNED: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/** Why `UNSIGNED` is refused. */
export const UNSIGNED_FAULT = "it is not signed with the secret of --secret-file";
