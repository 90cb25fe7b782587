/** JSON answers of this node itself: a snapshot of now, which nobody on the way may keep. */

const encoder = new TextEncoder();

/** The length is said because a server counts it for GET only, and HEAD sends the same headers. */
export function jsonResponse(body: object, status = 200, headers?: Readonly<Record<string, string>>): Response {
  const bytes = encoder.encode(JSON.stringify(body) + "\n");
  return new Response(bytes, {
    status,
    headers: {
      "content-type": "application/json",
      "content-length": String(bytes.byteLength),
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...headers,
    },
  });
}
