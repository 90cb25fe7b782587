/** Bounds the connections to one origin. Idle and closing connections count. */
import type { Agent } from "node:http";
import type { Socket } from "node:net";

/** The connections of one of Node's agents. An agent forgets a connection when it has closed. */
export type Connected = Pick<Agent, "sockets" | "freeSockets">;

/** The connections of one or more clients to the same origin. */
export class Connections {
  #most = Infinity;
  readonly #agents = new Set<Connected>();
  /** Connections that have begun to close. An agent may forget one before it is closed. */
  readonly #closing = new Set<Socket>();
  readonly #known = new WeakSet<Socket>();
  readonly #waiting = new Set<() => void>();

  get isBounded(): boolean {
    return this.#most < Infinity;
  }

  /** Sets the most open connections from now on. Open connections stay until their requests have ended. */
  bound(most: number): void {
    // A request that has a slot of the guard must not wait forever.
    this.#most = Math.max(most, 1);
    this.#changed();
  }

  add(...agents: Connected[]): void {
    for (const agent of agents) this.#agents.add(agent);
  }

  /** The client of these agents opens no more connections. */
  remove(...agents: Connected[]): void {
    for (const agent of agents) {
      for (const socket of [...socketsOf(agent.sockets), ...socketsOf(agent.freeSockets)]) this.#isClosing(socket);
      this.#agents.delete(agent);
    }
  }

  /** For clients: a request uses this connection. */
  uses(socket: Socket): void {
    if (!this.isBounded || this.#known.has(socket)) return;
    this.#known.add(socket);
    socket.once("close", () => this.#changed());
  }

  /** For clients: a connection became idle. */
  freed(): void {
    this.#changed();
  }

  /**
   * Whether a request may be sent now, in this turn of the event loop. If not, one idle connection is closed to make room.
   *
   * @param reusing its idle connections may be used for the request
   */
  hasRoom(reusing: Connected | undefined): boolean {
    if (!this.isBounded) return true;
    if (reusing !== undefined && socketsOf(reusing.freeSockets).some(({ destroyed }) => !destroyed)) return true;
    const open = new Set(this.#closing);
    let idle: Socket | undefined;
    for (const { sockets, freeSockets } of this.#agents) {
      for (const socket of socketsOf(sockets)) open.add(socket);
      for (const socket of socketsOf(freeSockets)) {
        open.add(socket);
        if (!socket.destroyed) idle = socket;
      }
    }
    if (open.size < this.#most) return true;
    if (idle !== undefined) {
      this.#isClosing(idle);
      idle.destroy();
    }
    return false;
  }

  /** Resolves when there may be room. @throws the signal's reason */
  changed(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = () => {
        this.#waiting.delete(woken);
        signal.removeEventListener("abort", gone);
      };
      const woken = () => {
        leave();
        resolve();
      };
      const gone = () => {
        leave();
        reject(signal.reason);
      };
      if (signal.aborted) return gone();
      signal.addEventListener("abort", gone);
      this.#waiting.add(woken);
    });
  }

  #isClosing(socket: Socket): void {
    if (this.#closing.has(socket) || socket.closed) return;
    this.#closing.add(socket);
    socket.once("close", () => {
      this.#closing.delete(socket);
      this.#changed();
    });
  }

  #changed(): void {
    for (const woken of [...this.#waiting]) woken();
  }
}

function socketsOf(byName: Connected["sockets"]): Socket[] {
  return Object.values(byName).flatMap((sockets) => sockets ?? []);
}
