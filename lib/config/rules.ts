/** Rules between options that are each valid alone. */
import { advertised, type Config, workerName } from "./config.ts";
import { loginFaults } from "./texts/nats-login.ts";
import { MOST_WORKERS } from "./options.ts";
import { secretsIn } from "./texts/secret.ts";

/** The longest name in the registry, in characters: the rule of --name. */
const maxNameLength = 128;
/** The time that a stop needs after its farewell. Derived: 1 s to leave and close, and 0.6 s more to end workers. */
const AFTER_FAREWELL_MS = 1_600;

/** @returns the rules that the options break, each in one line */
export function faultsBetween(config: Config, readFile: (path: string) => string): string[] {
  return [
    ...peerAddrFaults(config),
    ...nameFaults(config),
    ...secretFaults(config, readFile),
    ...loginFaults(config.natsLogin, config.nats, readFile),
    ...advertiseFaults(config),
    ...serveFaults(config),
    ...farewellFaults(config),
  ];
}

function peerAddrFaults({ peerAddr, tlsCert, tlsKey, workers }: Config): string[] {
  const faults: string[] = [];
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    faults.push(`--tls-${tlsCert === undefined ? "cert" : "key"} must be given too: each needs the other`);
  } else if (tlsCert !== undefined && peerAddr === undefined) {
    faults.push("--peer-addr must be given too: it is what --tls-cert encrypts");
  }
  if (peerAddr !== undefined && workers !== 1) {
    faults.push("--peer-addr must not be given with more than one of --workers: each has an address for peers");
  }
  return faults;
}

function nameFaults(config: Config): string[] {
  const most = config.workers === 1 ? maxNameLength : maxNameLength - workerName("", MOST_WORKERS).length;
  if (advertised(config, 65535).name.length <= most) return [];
  const what = config.name === undefined ? "given: the advertised host makes a name" : "shorter: it is a name";
  return [`--name must be ${what} of over ${most} characters`];
}

function secretFaults({ secretFile }: Config, readFile: (path: string) => string): string[] {
  if (secretFile === undefined) return [];
  try {
    secretsIn(readFile(secretFile));
    return [];
  } catch (error) {
    return [`--secret-file must be a file that can be used: ${(error as Error).message}`];
  }
}

function advertiseFaults({ advertise, workers }: Config): string[] {
  if (workers === 1 || !advertise?.startsWith("https:")) return [];
  return ["--advertise must be http:// with more than one of --workers: each has a port of its own"];
}

function serveFaults({ serve, groups, groupsFromNats, nats }: Config): string[] {
  if (serve === undefined) return [];
  const faults: string[] = [];
  const unknown = groupsFromNats ? undefined : serve.find((name) => !groups.some((group) => group.name === name));
  if (unknown !== undefined) faults.push(`--serve must name groups of this node: it has no group ${unknown}`);
  const unserved = groups.find(({ name }) => !serve.includes(name));
  if (nats.kind === "off" && unserved !== undefined) {
    faults.push(`--serve must name all groups with --nats off: there is no other node to ask for ${unserved.name}`);
  }
  return faults;
}

function farewellFaults({ farewellMs, drainTimeoutMs }: Config): string[] {
  if (farewellMs + AFTER_FAREWELL_MS <= drainTimeoutMs) return [];
  const rule = `--drain-timeout must be ${AFTER_FAREWELL_MS / 1_000} s longer than --farewell, or more`;
  return [`${rule}: it is ${drainTimeoutMs} ms, and --farewell is ${farewellMs} ms`];
}
