/** Reads Linux's figures of a process. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";

/** The kernel's unit of CPU time (USER_HZ), in milliseconds. */
const TICK_MS = 10;

/** CPU time since its start, in milliseconds, to 10 ms. */
export function cpuMs(pid: number): number {
  // The second field, the program's name, may hold spaces and brackets.
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").replace(/^.*\) /s, "").split(" ");
  return (Number(fields[11]) + Number(fields[12])) * TICK_MS;
}

/** Its memory; shared pages count in proportion (PSS). */
export function memoryBytes(pid: number): number {
  const kilobytes = /^Pss:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, "utf8"))![1];
  return Number(kilobytes) * 1_024;
}

/** Its open file descriptors, and the sockets among them. */
export function descriptors(pid: number): { all: number; sockets: number } {
  const folder = `/proc/${pid}/fd`;
  const targets = readdirSync(folder).map((fd) => {
    try {
      return readlinkSync(`${folder}/${fd}`);
    } catch {
      // It was closed in the meantime.
      return "";
    }
  });
  return { all: targets.length, sockets: targets.filter((target) => target.startsWith("socket:")).length };
}
