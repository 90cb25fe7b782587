/** JSON answers of the node itself. They describe this moment only, so no cache may store them. */

const encoder = new TextEncoder();

/** Sets the length itself: servers compute it for GET only, and HEAD must send the same headers. */
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
