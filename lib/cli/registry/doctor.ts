/** `doctor` checks, from this machine, everything that a node with these options needs, and says what to do. */
import { createServer } from "node:net";
import { advertised, type Config, doubtsOf, version } from "../../config/config.ts";
import { hostInUrl, type HostPort } from "../../config/texts/addresses.ts";
import type { PeerRecord } from "../../core/roster.ts";
import type { Inspector, Listed, StreamFacts } from "../../nats/inspector.ts";
import { originDigest, policyDifferences, policyDigest } from "../../node/groups/policy-digest.ts";
import { clientFor, NodeClient } from "../fleet/client.ts";
import { fleetOf } from "../fleet/fleet.ts";
import { type Problem, problemsOf } from "../fleet/problems.ts";
import { inspect } from "./nats.ts";
import { coloured, plain, spanText } from "../table.ts";
import type { ExitCode, Terminal } from "../terminal.ts";

/** The result of one check. */
export interface Finding {
  /** The subject of the check: `nats`, `port`, `peer 127-0-0-1-8000`. */
  readonly check: string;
  readonly level: "ok" | "warning" | "fault";
  readonly detail: string;
  /** What to do; absent if all is well. */
  readonly todo?: string;
}

/** Chosen: `Date` has whole seconds. The cache's rules compare no clocks; only logs and HTTP dates depend on them. */
const MAX_CLOCK_OFF_MS = 2_000;
/** How long a peer may take to answer, in milliseconds. */
const PEER_TIMEOUT_MS = 2_000;
/** How many peers are asked. Chosen. */
const MAX_PEERS = 200;

/** Makes all checks; a fault does not hide another. */
export async function doctor(
  config: Config,
  { json }: { readonly json: boolean },
  terminal: Terminal,
): Promise<ExitCode> {
  const [files, nats, ports] = await Promise.all([
    fileFindings(config, terminal),
    natsFindings(config, terminal),
    portFindings(config, terminal),
  ]);
  const doubts = doubtsOf(config).map((detail): Finding => (
    {
      check: "options",
      level: "warning",
      detail,
      todo: "give --advertise with an address that the other nodes reach",
    }
  ));
  const findings = [...doubts, ...files, ...nats, ...ports.findings, ...problemFindings(ports.problems, nats)];
  const isGood = findings.every(({ level }) => level !== "fault");
  await terminal.out(
    json ? `${JSON.stringify({ ok: isGood, findings })}\n` : findingText(findings, terminal.isColoured),
  );
  return isGood ? 0 : 1;
}

function findingText(findings: readonly Finding[], isColoured: boolean): string {
  const tones = { ok: "good", warning: "doubtful", fault: "bad" } as const;
  return findings.map(({ check, level, detail, todo }) => {
    const head = `${coloured(level.padEnd(7), tones[level], isColoured)}  ${plain(check)}: ${plain(detail)}\n`;
    return todo === undefined ? head : `${head}         ${coloured(plain(todo), "dim", isColoured)}\n`;
  }).join("");
}

/** Finds secrets that every user of the machine can read. */
async function fileFindings(config: Config, { isReadableByAll }: Terminal): Promise<Finding[]> {
  const { adminTokenFile, secretFile, tlsKey, natsLogin: { creds, nkey, passwordFile, tokenFile, key } } = config;
  const paths = [adminTokenFile, secretFile, tlsKey, creds, nkey, passwordFile, tokenFile, key];
  return paths.flatMap((path): Finding[] => {
    if (path === undefined) return [];
    try {
      if (!isReadableByAll(path)) {
        return [{ check: `file ${path}`, level: "ok", detail: "only its owner and group read it" }];
      }
      return [{
        check: `file ${path}`,
        level: "warning",
        detail: "every user of this machine can read it, and it holds a secret",
        todo: `chmod o-r ${path}`,
      }];
    } catch (error) {
      return [{
        check: `file ${path}`,
        level: "fault",
        detail: (error as Error).message,
        todo: "give a file that can be read",
      }];
    }
  });
}

async function natsFindings(config: Config, terminal: Terminal): Promise<Finding[]> {
  if (config.nats.kind === "off") return [{ check: "nats", level: "ok", detail: "--nats is off: the node runs alone" }];
  let inspector: Inspector;
  try {
    inspector = await inspect(config, terminal);
  } catch (error) {
    return [{
      check: "nats",
      level: "fault",
      detail: (error as Error).message,
      todo: natsTodo(config, error as Error),
    }];
  }
  try {
    const { name, version } = inspector.server;
    const greeted: Finding = { check: "nats", level: "ok", detail: `nats-server ${version} (${name}) takes the login` };
    return [greeted, ...serverFindings(config, version), ...await bucketFindings(config, inspector, terminal)];
  } finally {
    await inspector.close();
  }
}

function natsTodo({ nats }: Config, { message }: Error): string {
  if (/refuses the login/.test(message)) {
    return "check the login options: --nats-creds, --nats-nkey, --nats-user, --nats-token-file";
  }
  if (/TLS|certificate/.test(message)) return "check --nats-ca, --nats-cert and --nats-key";
  if (nats.kind === "embedded") {
    return "start a node on this machine, which starts the bundled server; or name your servers with --nats";
  }
  return "check that the server runs, that --nats names it, and that no firewall is between";
}

function serverFindings({ replicas }: Config, version: string): Finding[] {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (replicas === 1 || major > 2 || (major === 2 && minor >= 10)) return [];
  const detail = `nats-server ${version} loses conditional writes in a bucket with ${replicas} replicas`;
  return [{ check: "nats version", level: "fault", detail, todo: "upgrade it to 2.10 or newer, or give --replicas 1" }];
}

async function bucketFindings(config: Config, inspector: Inspector, terminal: Terminal): Promise<Finding[]> {
  let streams: ReadonlyMap<"peers" | "invalidations" | "groups", StreamFacts>;
  try {
    streams = await inspector.streams();
  } catch (error) {
    const todo =
      "turn JetStream on (nats-server -js), or allow this login $JS.API.STREAM.INFO.> (see lib/nats/README.md)";
    return [{ check: "jetstream", level: "fault", detail: (error as Error).message, todo }];
  }
  const found: Finding[] = [{ check: "jetstream", level: "ok", detail: "it answers" }];
  const list = streams.get("peers");
  if (list === undefined) {
    found.push({
      check: "bucket",
      level: "warning",
      detail: `there is no bucket ${config.bucket}: no node has joined yet`,
      todo: "start a node, which makes it; or check that --bucket is the same as on the other nodes",
    });
    return found;
  }
  for (const facts of streams.values()) found.push(...streamFindings(facts, config));
  found.push(...clockFindings("the NATS server", list.clockAheadMs));
  found.push(
    ...rightFindings(
      config,
      await inspector.mayWrite(config.groups[0]!.name, advertised(config, config.addr.port || 1).name),
    ),
  );
  return [...found, ...await listFindings(config, await inspector.listed(), terminal)];
}

function streamFindings({ name, messages, replicas, isOnDisk, lagging }: StreamFacts, config: Config): Finding[] {
  const check = `stream ${name}`;
  if (!isOnDisk) {
    const todo = "make it again with file storage: it is lost when the server stops";
    return [{ check, level: "fault", detail: "it is kept in memory only", todo }];
  }
  if (lagging.length > 0) {
    const detail = `these servers do not follow its leader: ${lagging.join(", ")}`;
    return [{ check, level: "warning", detail, todo: "check that they run, and that they have room on disk" }];
  }
  if (replicas !== config.replicas) {
    const detail = `it is kept on ${replicas} servers, and --replicas is ${config.replicas}`;
    return [{ check, level: "warning", detail, todo: `nats stream edit ${name} --replicas ${config.replicas}` }];
  }
  return [{
    check,
    level: "ok",
    detail: `${messages} messages, on ${replicas === 1 ? "1 server" : `${replicas} servers`}`,
  }];
}

function clockFindings(whose: string, aheadMs: number | undefined): Finding[] {
  if (aheadMs === undefined) return [];
  const isOff = Math.abs(aheadMs) > MAX_CLOCK_OFF_MS;
  const detail = isOff
    ? `the clock of ${whose} is ${spanText(Math.abs(aheadMs))} ${aheadMs > 0 ? "ahead of" : "behind"} this machine's`
    : `the clock of ${whose} agrees with this machine's`;
  return [{
    check: "clock",
    level: isOff ? "warning" : "ok",
    detail,
    ...(isOff && { todo: "run a time service (NTP) on both machines" }),
  }];
}

function rightFindings({ bucket }: Config, rights: Awaited<ReturnType<Inspector["mayWrite"]>>): Finding[] {
  return Object.entries(rights).map(([what, right]): Finding => {
    const check = `right to write ${what}`;
    if (right === "yes") return { check, level: "ok", detail: "this login has it" };
    const subject = what === "peers" ? `$KV.${bucket}.>` : `${bucket}.invalidate.>`;
    const detail = right === "no"
      ? `this login may not publish to ${subject}`
      : `NATS did not say whether this login may publish to ${subject}`;
    // The first node that needs the stream of invalidations makes it.
    return {
      check,
      level: right === "no" ? "fault" : "warning",
      detail,
      todo: "allow it: lib/nats/README.md lists what a node needs",
    };
  });
}

/**
 * Checks each listed node: its record, whether it answers here, and whether its version and policies match these
 * options.
 */
async function listFindings(config: Config, listed: readonly Listed[], terminal: Terminal): Promise<Finding[]> {
  const found: Finding[] = listed.flatMap(({ group, name, revision, fault }): Finding[] =>
    fault === undefined ? [] : [{
      check: `record ${group}.${name}`,
      level: "fault",
      detail: `it is no record of a peer (revision ${revision}): ${fault}`,
      todo: `nats kv del ${config.bucket} ${group}.${name}; see also --secret-file`,
    }]
  );
  const nodes = new Map(listed.flatMap(({ record }) => record === undefined ? [] : [[record.name, record]]));
  if (nodes.size === 0) return [...found, { check: "peers", level: "ok", detail: "no node is listed" }];
  const ca = config.tlsCa === undefined ? undefined : terminal.readFile(config.tlsCa);
  const asked = [...nodes.values()].slice(0, MAX_PEERS);
  const reached = await Promise.all(asked.map((record) => peerFindings(record, ca, terminal)));
  return [...found, ...reached.flat(), ...likenessFindings(config, listed)];
}

async function peerFindings(record: PeerRecord, ca: string | undefined, { clock }: Terminal): Promise<Finding[]> {
  const { name, url, incarnation } = record;
  const check = `peer ${name}`;
  const client = new NodeClient(url);
  const sinceMs = clock.nowMs();
  try {
    const answered = await client.ask({ path: "/healthz", timeoutMs: PEER_TIMEOUT_MS, ca });
    const tookMs = clock.nowMs() - sinceMs;
    const told = client.parsed<{ name?: string; incarnation?: string }>(answered);
    if (told.name !== name || told.incarnation !== incarnation) {
      const detail = told.name === name
        ? "the list has an earlier life of this peer"
        : `${url} is not its address: ${told.name ?? "no node"} answers there`;
      return [{
        check,
        level: "fault",
        detail,
        todo: "check --advertise of that node: its URL must lead to it from every machine",
      }];
    }
    const theirsMs = Date.parse(answered.headers["date"] ?? "");
    // A date is cut to the second, so on average it is half a second old.
    const aheadMs = Number.isNaN(theirsMs) ? undefined : theirsMs + 500 - (sinceMs + tookMs / 2);
    const isOff = aheadMs !== undefined && Math.abs(aheadMs) > MAX_CLOCK_OFF_MS;
    return [
      { check, level: "ok", detail: `${url} answers in ${spanText(tookMs)}` },
      ...(isOff ? clockFindings(name, aheadMs) : []),
    ];
  } catch (error) {
    const todo = "check that it runs, that its --advertise can be reached from here, and that no firewall is between";
    return [{ check, level: "fault", detail: (error as Error).message, todo }];
  }
}

function likenessFindings(config: Config, listed: readonly Listed[]): Finding[] {
  const found: Finding[] = [];
  for (const { group, record } of listed) {
    const mine = config.groups.find(({ name }) => name === group);
    if (mine === undefined || record === undefined) continue;
    const check = `peer ${record.name}`;
    if (record.origin !== undefined && record.origin !== originDigest(mine)) {
      const detail = `its origin of ${group} differs from these options: they would share no value`;
      found.push({
        check,
        level: "warning",
        detail,
        todo: "give doctor the options of the node, --config and --group",
      });
    } else if (record.policy !== undefined) {
      const fields = policyDifferences(policyDigest(mine), record.policy);
      if (fields.length === 0) continue;
      const detail = `its policy of ${group} differs from these options: ${fields.join("; ")}`;
      found.push({
        check,
        level: "warning",
        detail,
        todo: "give all nodes, and doctor, the same --config and options",
      });
    }
  }
  const versions = new Map(listed.flatMap(({ record }) => record === undefined ? [] : [[record.name, record.version]]));
  const others = [...versions].filter(([, theirs]) => theirs !== version);
  if (others.length > 0) {
    const told = others.map(([name, theirs]) => `${name} ${theirs}`).join(", ");
    found.push({
      check: "versions",
      level: "warning",
      detail: `this is ${version}, and there are ${told}`,
      todo: "finish the upgrade",
    });
  }
  return found;
}

/** The findings at an address, and the faults of the fleet that the node there reports. */
interface AtAddress {
  readonly findings: readonly Finding[];
  readonly problems: readonly Problem[];
}

/** Checks whether the node's addresses are free or a node uses them. That node is asked for the faults of its fleet. */
async function portFindings(config: Config, terminal: Terminal): Promise<AtAddress> {
  const { findings, problems } = await addressFindings("--addr", config.addr, config, terminal);
  if (config.peerAddr === undefined) return { findings, problems };
  const ofPeers = await addressFindings("--peer-addr", config.peerAddr, undefined, terminal);
  return { findings: [...findings, ...ofPeers.findings], problems };
}

/** The fleet's faults that are not in the findings from NATS. Those name a record's bucket and key, and the remedy. */
function problemFindings(problems: readonly Problem[], told: readonly Finding[]): Finding[] {
  const isTold = ({ node, about, problem }: Problem) =>
    told.some(({ check, level, detail }) =>
      level === "fault" && (check === `record ${about}` || check === `peer ${node}` && detail === problem)
    );
  return problems.filter((problem) => !isTold(problem)).map(({ node, problem, todo }): Finding => (
    { check: node === null ? "fleet" : `node ${node}`, level: "fault", detail: problem, todo }
  ));
}

async function addressFindings(
  flag: string,
  address: HostPort,
  config: Config | undefined,
  terminal: Terminal,
): Promise<AtAddress> {
  const found = (finding: Omit<Finding, "check">, problems: readonly Problem[] = []): AtAddress => (
    { findings: [{ check, ...finding }], problems }
  );
  const check = `${flag} ${hostInUrl(address.host)}:${address.port}`;
  const code = await bindFault(address);
  if (code === undefined) return found({ level: "ok", detail: "it is free: no node runs there" });
  if (code !== "EADDRINUSE") {
    const todo = code === "EACCES" ? "give a port above 1023" : "give an address of this machine";
    return found({ level: "fault", detail: `a node cannot listen there: ${code}`, todo });
  }
  const host = /^(0\.0\.0\.0|::)$/.test(address.host) ? "127.0.0.1" : address.host;
  const url = `http://${hostInUrl(host)}:${address.port}`;
  if (config === undefined) return found({ level: "ok", detail: "a program listens there" });
  const client = clientFor({ node: url, adminTokenFile: config.adminTokenFile }, terminal.readFile);
  try {
    const fleet = await fleetOf(client);
    return found({ level: "ok", detail: `the node ${fleet.asked} runs there` }, problemsOf(fleet));
  } catch (error) {
    const todo =
      "if it is a node, give its --admin-token-file; if it is another program, stop it or give another --addr";
    return found({ level: "fault", detail: (error as Error).message, todo });
  }
}

/** The system's error code for listening there; `undefined`: listening works. */
function bindFault({ host, port }: HostPort): Promise<string | undefined> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once("error", (error: { code?: string; message: string }) => resolve(codeIn(error)));
    server.listen({ host, port, exclusive: true }, () => server.close(() => resolve(undefined)));
  });
}

/** Deno gives only words for some faults, and no code. */
function codeIn({ code, message }: { readonly code?: string; readonly message: string }): string {
  if (code !== undefined) return code;
  return /in use/i.test(message) ? "EADDRINUSE" : /denied/i.test(message) ? "EACCES" : message;
}
