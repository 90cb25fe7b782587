/**
 * The client's transport, with a bound on what a server may say before it is known to be one. nats.js 2.29.3 puts all of a
 * greeting together anew at each chunk, without a bound, and leaves the socket open when it gives up. A program on the port
 * that never ends its line held a node up for 4 to 6 s at a time (measured on both runtimes), and filled its memory.
 */
import type { Socket } from "node:net";
import type { ConnectionOptions, NatsConnection } from "nats";
import { NatsConnectionImpl, setTransportFactory } from "nats/lib/nats-base-client/internal_mod.js";
import { nodeResolveHost, NodeTransport } from "nats/lib/src/node_transport.js";
import { MAX_GREETING_BYTES } from "./presence.ts";

/** One try to connect: its sockets, to be closed when it has failed. */
interface Try {
  readonly sockets: Set<Socket>;
}

class BoundedTransport extends NodeTransport {
  /** Called by the client, with the options of `connect`. */
  override async connect(place: Parameters<NodeTransport["connect"]>[0], options: ConnectionOptions): Promise<void> {
    // The factory is the module's own: a connection of somebody else in this process may have come by this transport.
    const { sockets } = options as ConnectionOptions & Partial<Try>;
    const dial = this.dial.bind(this);
    this.dial = async (to) => {
      const socket = await dial(to) as Socket;
      sockets?.add(socket);
      let bytes = 0;
      // The client takes all listeners off once it has the greeting, this one too.
      socket.on("data", (chunk: Uint8Array) => {
        bytes += chunk.byteLength;
        if (bytes > MAX_GREETING_BYTES) socket.destroy(new Error("the server's greeting is too long"));
      });
      return socket;
    };
    await super.connect(place, options);
  }
}

/** `connect` of nats.js, which leaves no socket behind when it fails. @throws as that does */
export async function connectBounded(options: ConnectionOptions): Promise<NatsConnection> {
  setTransportFactory({ factory: () => new BoundedTransport(), dnsResolveFn: nodeResolveHost });
  const sockets = new Set<Socket>();
  try {
    return await NatsConnectionImpl.connect({ ...options, sockets } as ConnectionOptions);
  } catch (error) {
    for (const socket of sockets) socket.destroy();
    throw error;
  }
}
