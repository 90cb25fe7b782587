/** Whether this machine can have hosts in network namespaces. */
import { spawnSync } from "node:child_process";
import process from "node:process";

/** Why it cannot; `undefined`: it can. */
export function isPermitted(): string | undefined {
  if (process.getuid?.() !== 0) {
    return "it needs root, to make network namespaces";
  }
  for (
    const [program, flag] of [["ip", "-V"], ["nft", "-v"], ["unshare", "-V"]]
  ) {
    if (spawnSync(program!, [flag!]).error !== undefined) {
      return `it needs ${program} (iproute2, nftables, util-linux)`;
    }
  }
  // A container may have root and lack the right.
  const made = spawnSync("unshare", [
    "--net",
    "sh",
    "-c",
    "ip link add mus-try type bridge && nft add table inet mus-try",
  ]);
  return made.status === 0 ? undefined : `this machine does not permit it: ${String(made.stderr).trim().slice(0, 200)}`;
}
