/**
 * A process that dials one URL as peers do, `dial-once.ts <url>`, and prints `opened`, or why not. Its environment names
 * the certificates that it trusts; the runtimes read that only when they start.
 */
import { dialTcp } from "../../../lib/peer/socket/tcp.ts";

const socket = dialTcp(globalThis.process.argv[2]!, { claim: "", answer: () => Promise.resolve("") });
socket.handler = {
  opened() {
    socket.close(1000, "done");
    console.log("opened");
  },
  received() {},
  closed: (reason) => console.log(reason),
};
