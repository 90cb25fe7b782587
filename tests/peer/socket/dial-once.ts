/**
 * A process that dials one URL as peers do, `dial-once.ts <url>`, and prints `opened`, or why not. Whom it trusts is for
 * its environment to say, which the runtimes read when they start.
 */
import { dialTcp } from "../../../lib/peer/socket/tcp.ts";

const socket = dialTcp(globalThis.process.argv[2]!);
socket.handler = {
  opened() {
    socket.close(1000, "done");
    console.log("opened");
  },
  received() {},
  closed: (reason) => console.log(reason),
};
