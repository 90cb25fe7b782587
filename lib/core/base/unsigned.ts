/**
 * Stands for bytes that do not carry the cluster's signature, where one is asked for; known by identity. Whoever reads a
 * record, a definition or an invalidation refuses it, and says so in these words.
 */
export const UNSIGNED: Uint8Array<ArrayBuffer> = new Uint8Array(0);

/** Why `UNSIGNED` is refused. */
export const UNSIGNED_FAULT = "it is not signed with the secret of --secret-file";
