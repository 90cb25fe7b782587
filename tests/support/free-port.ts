import { createServer } from "node:net";

/**
 * A free port on 127.0.0.1. Chosen below the kernel's ephemeral range (32768 and up on Linux). While a test has its
 * server down, any outgoing connection could take a port in that range, and a client that retries there may even
 * connect to itself.
 *
 * @throws Error after 50 ports that were all taken.
 */
export async function freePort(): Promise<number> {
  for (let attempt = 0; attempt < 50; attempt++) {
    const port = 10_000 + Math.floor(Math.random() * 22_000);
    if (await canListen(port)) return port;
  }
  throw new Error("Cannot find a free port on 127.0.0.1: 50 in a row were taken");
}

function canListen(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}
