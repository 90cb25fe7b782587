/**
 * The client's transport, with a bound on the bytes before the end of the greeting. nats.js 2.29.3 joins the whole greeting
 * again at each chunk, without a bound, and leaves the socket open when it gives up. A program on the port that never ends its
 * line filled a node's memory. It also blocked the node for 4 to 6 s at a time (measured on both runtimes).
 */
import type { Socket } from "node:net";
import type { ConnectionOptions, NatsConnection } from "nats";
import { NatsConnectionImpl, setTransportFactory } from "nats/lib/nats-base-client/internal_mod.js";
import { nodeResolveHost, NodeTransport } from "nats/lib/src/node_transport.js";
import { MAX_GREETING_BYTES } from "./presence.ts";

/** One attempt to connect. Its sockets must be closed if it fails. */
interface Try {
  readonly sockets: Set<Socket>;
}

/** The client's connection to one server. */
export class BoundedTransport extends NodeTransport {
  /** Called by the client with the options of `connect`. */
  override async connect(place: Parameters<NodeTransport["connect"]>[0], options: ConnectionOptions): Promise<void> {
    // The transport factory is global in the module, so other code in this process may also connect by this transport.
    const { sockets } = options as ConnectionOptions & Partial<Try>;
    const dial = this.dial.bind(this);
    this.dial = async (to) => {
      const socket = neverUnheard(await dial(to) as Socket);
      sockets?.add(socket);
      let bytes = 0;
      // The client removes all listeners after the greeting, including this one.
      socket.on("data", (chunk: Uint8Array) => {
        bytes += chunk.byteLength;
        if (bytes > MAX_GREETING_BYTES) socket.destroy(new Error("the server's greeting is too long"));
      });
      return socket;
    };
    await super.connect(place, options);
  }

  override async startTLS(): ReturnType<NodeTransport["startTLS"]> {
    return neverUnheard(await super.startTLS());
  }

  override async tlsFirst(place: Parameters<NodeTransport["tlsFirst"]>[0]): ReturnType<NodeTransport["tlsFirst"]> {
    return neverUnheard(await super.tlsFirst(place));
  }
}

/**
 * Keeps a listener for errors on the socket. The client removes all listeners when it closes, and an error that comes
 * later, such as that of a write after the server's end, would end the process (seen on Deno).
 */
function neverUnheard<S extends Socket>(socket: S): S {
  const removeAll = socket.removeAllListeners.bind(socket);
  const ignore = () => {};
  socket.removeAllListeners = (...events) => {
    removeAll(...events);
    return socket.on("error", ignore);
  };
  return socket.on("error", ignore);
}

/** `connect` of nats.js, but without open sockets after a failure. @throws as `connect` */
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
