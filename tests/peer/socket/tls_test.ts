/** Peers behind TLS: `--advertise https://…`, by name and by address. */
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { networkInterfaces, tmpdir } from "node:os";
import { join } from "node:path";
import { createServer } from "node:tls";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Certificate, certificateFor } from "../../support/certificates.ts";
import { NPM_PACKAGES } from "../../support/node.ts";
import { type Defer, test } from "../../support/test.ts";

const run = promisify(execFile);
/** Not every container has IPv6. */
const hasIPv6 = Object.values(networkInterfaces()).flat().some((one) => one?.address === "::1");
const isBun = "Bun" in globalThis;
const dialOnce = fileURLToPath(new URL("dial-once.ts", import.meta.url));
const PROCESS_TIMEOUT_MS = 20_000;

/** Takes WebSockets at `host`, and shows the certificate. @returns its port */
async function serveTls(defer: Defer, host: string, certificate: Certificate): Promise<number> {
  const server = createServer(certificate, (socket) => {
    defer(() => socket.destroy());
    socket.on("error", () => {});
    socket.once("data", async () => {
      socket.write("HTTP/1.1 426 Upgrade Required\r\nContent-Length: 0\r\n\r\n");
      const [head] = await once(socket, "data");
      const key = /sec-websocket-key: (\S+)/i.exec(head.toString())![1];
      const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
      socket.write(`HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
    });
  });
  server.on("tlsClientError", () => {});
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  defer(() => server.close());
  return (server.address() as { port: number }).port;
}

test(
  "a peer is dialed by https at its address or its name, and refused when its certificate is for another",
  { programs: ["openssl"] },
  async (defer) => {
    const folder = mkdtempSync(join(tmpdir(), "muster-tls-"));
    defer(() => rmSync(folder, { recursive: true }));
    const [v4, other, v6, named] = await Promise.all(
      ["IP:127.0.0.1", "IP:127.0.0.2", "IP:::1", "DNS:localhost"].map((subject) => certificateFor(folder, subject)),
    ) as [Certificate, Certificate, Certificate, Certificate];
    const trusted = join(folder, "trusted.pem");
    writeFileSync(trusted, [v4, other, v6, named].map(({ cert }) => cert).join(""));
    const isAnother = /certificate/i;
    const allCases: [dialed: string, bound: string, shown: Certificate, expected: RegExp][] = [
      ["127.0.0.1", "127.0.0.1", v4, /^opened$/],
      ["127.0.0.1", "127.0.0.1", other, isAnother],
      ["127.0.0.1", "127.0.0.1", named, isAnother],
      ["[::1]", "::1", v6, /^opened$/],
      ["[::1]", "::1", v4, isAnother],
      ["localhost", "127.0.0.1", named, /^opened$/],
      ["localhost", "127.0.0.1", v4, isAnother],
    ];
    const cases = allCases.filter(([, bound]) => bound !== "::1" || hasIPv6);
    const command = isBun ? ["run", dialOnce] : ["run", "-A", NPM_PACKAGES, dialOnce];
    const env = { ...globalThis.process.env, NODE_EXTRA_CA_CERTS: trusted, DENO_CERT: trusted };
    for (const [dialed, bound, shown, expected] of cases) {
      // In Deno the TLS servers of one process resume each other's sessions: no session may be left from the case before.
      const url = `wss://${dialed}:${await serveTls(defer, bound, shown)}/_peer`;
      const { stdout } = await run(globalThis.process.execPath, [...command, url], {
        env,
        timeout: PROCESS_TIMEOUT_MS,
      });
      assert.match(stdout.trim(), expected, `${dialed}, ${bound}`);
    }
  },
);
