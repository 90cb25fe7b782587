/** Samples of all that a node of a release writes for others, and what a node reads from them. */
import { Buffer } from "node:buffer";
import type { GroupConfig } from "../../lib/config/config.ts";
import type { About, Value } from "../../lib/core/value.ts";
import type { ProtocolRange } from "../../lib/peer/wire/frames.ts";
import { recordOf } from "../registry/support.ts";
import { identityOf } from "../support/identity.ts";
import type { Modules } from "./modules.ts";

type Bytes = Uint8Array<ArrayBuffer>;

/** How the bytes are to be read. */
export type Kind = keyof typeof readers;

export interface Sample {
  readonly kind: Kind;
  readonly bytes: Bytes;
}

/** What was read, as JSON: bytes as base64, numbers that JSON lacks as text. */
export type Read = unknown;

const NOW_MS = 1_700_000_000_000;
const SECRET = "a secret of at least thirty-two letters";
const SUBJECT = "$KV.peers.dict.n1";
const SELF = { name: "n1", incarnation: "01J0000000000000000000000" };
const ACCEPTOR = { name: "n2", incarnation: "01J1111111111111111111111" };
const LABEL = { epoch: 1_700_000_000_000_000, sequence: 7 };
const NONCE = "A".repeat(22);
const CHALLENGE = "B".repeat(51);

const encoder = new TextEncoder();
const utf8 = (text: string): Bytes => encoder.encode(text);
const textOf = (bytes: Uint8Array): string => new TextDecoder("utf-8", { fatal: true }).decode(bytes);

/** The samples of a release, by name. */
export async function samplesOf(modules: Modules): Promise<Record<string, Sample>> {
  return {
    ...framesOf(modules),
    ...greetingsOf(modules),
    ...await proofOf(modules),
    ...inNats(modules),
    owners: { kind: "owners", bytes: utf8(JSON.stringify(placement())) },
    "answer to a groupcache peer": {
      kind: "groupcache",
      bytes: new Uint8Array(modules.groupcache.encodeGetResponse({ value: utf8("hi") })),
    },
  };
}

/** What a node of the release reads from a sample. @param own the protocol versions that it speaks */
export async function readSample(modules: Modules, { kind, bytes }: Sample, own: ProtocolRange): Promise<Read> {
  return JSON.parse(JSON.stringify(await readers[kind](modules, bytes, own), asJson));
}

/** Whether `read` says all that `expected` says: it may have fields and arguments of a later release besides. */
export function covers(read: Read, expected: Read): boolean {
  if (typeof expected !== "object" || expected === null) return read === expected;
  if (typeof read !== "object" || read === null || Array.isArray(read) !== Array.isArray(expected)) return false;
  // A list of one thing must be that list. What a visitor got begins with its method's name, and may have got longer.
  if (Array.isArray(expected) && !isCall(expected) && expected.length !== (read as unknown[]).length) return false;
  return Object.entries(expected).every(([field, value]) => covers((read as Record<string, unknown>)[field], value));
}

const CALL = "called ";

function isCall([name]: readonly unknown[]): boolean {
  return typeof name === "string" && name.startsWith(CALL);
}

function asJson(_field: string, value: unknown): unknown {
  if (value instanceof Uint8Array) return `base64 ${Buffer.from(value).toString("base64")}`;
  return typeof value === "number" && !Number.isFinite(value) ? String(value) : value;
}

const readers = {
  frame: ({ reader }: Modules, bytes: Bytes) =>
    heard((visitor) => reader.readFrame(bytes, visitor, visitor, visitor, NOW_MS)),
  "value in pieces": ({ reader, frames: { MessageType } }: Modules, bytes: Bytes) =>
    heard((visitor) => reader.readWhole(MessageType.value, 5, bytes, visitor, visitor, NOW_MS)),
  "push in pieces": ({ reader, frames: { MessageType } }: Modules, bytes: Bytes) =>
    heard((visitor) => reader.readWhole(MessageType.push, 5, bytes, visitor, visitor, NOW_MS)),
  hello: ({ greeting }: Modules, bytes: Bytes, own: ProtocolRange) => greeting.readHello(bytes, own),
  answer: ({ greeting }: Modules, bytes: Bytes, own: ProtocolRange) => greeting.readAnswer(bytes, own),
  claim: ({ proof }: Modules, bytes: Bytes) => proof.readClaim(textOf(bytes)),
  challenge: async ({ proof, keys }: Modules, bytes: Bytes) => {
    const read = proof.readChallenge(textOf(bytes))!;
    const text = proof.challengeText({ ...SELF, nonce: NONCE }, ACCEPTOR, read.challenge);
    return { ...read, isRight: await keys.verify(identityOf(ACCEPTOR).key, text, read.signature) };
  },
  proof: async ({ proof, keys }: Modules, bytes: Bytes) => {
    const read = proof.readProof(textOf(bytes))!;
    const text = proof.proofText(read, ACCEPTOR, read.challenge);
    return { ...read, isRight: await keys.verify(identityOf(SELF).key, text, read.signature) };
  },
  record: ({ record }: Modules, bytes: Bytes) => record.parseRecord("dict", `dict.${SELF.name}`, bytes),
  "sealed record": ({ record, seal: { Seal } }: Modules, bytes: Bytes) =>
    record.parseRecord("dict", `dict.${SELF.name}`, new Seal([SECRET]).open(SUBJECT, bytes)),
  policy: (modules: Modules, bytes: Bytes) => ({
    differences: modules.policy.policyDifferences(modules.policy.policyDigest(defaultGroup(modules)), textOf(bytes)),
  }),
  invalidation: ({ invalidation }: Modules, bytes: Bytes) => invalidation.parseInvalidation(bytes),
  definition: ({ definition }: Modules, bytes: Bytes) => definition.readDefinition("wn", bytes, () => {}),
  owners: ({ hash: { PrefixHash }, rendezvous: { Rendezvous }, variantKey }: Modules, bytes: Bytes) => {
    const { peers, keys } = JSON.parse(textOf(bytes)) as ReturnType<typeof placement>;
    const [ranks, hash] = [new Rendezvous(peers), new PrefixHash("dict\0")];
    return keys.map((key) => [ranks.ranked(hash.hash(key), 2), variantKey.variantKey(key, "accept\u0001=a")]);
  },
  groupcache: ({ groupcache }: Modules, bytes: Bytes) => groupcache.decodeGetResponse(bytes),
};

/** Every call of a visitor's methods, and why the connection would have to close. */
function heard(read: (visitor: never) => string | undefined): Read {
  const calls: unknown[] = [];
  const visitor = new Proxy({}, {
    get: (_, method) => (...args: unknown[]) => void calls.push([CALL + String(method), ...structuredClone(args)]),
  });
  const reason = read(visitor as never) ?? "read";
  return { calls, reason };
}

function framesOf({ frames, writer: { FrameWriter, valuePayload, pushPayload }, value }: Modules) {
  const { MessageType, FailureCode } = frames;
  const { PLAIN, NOTHING_HERE } = value;
  const values = [
    valueOf("a definition", PLAIN),
    valueOf("", NOTHING_HERE, Infinity),
    valueOf("<p>", {
      ...PLAIN,
      fields: [["etag", '"1"'], ["cache-control", "max-age=60"]],
      etag: '"1"',
      selection: { names: ["accept", "accept-language"], says: "accept\u0001=a\u0002accept-language\u0001=de" },
      hasOwnLifetime: true,
      tags: ["page", "menü"],
    }),
    valueOf("private", { ...PLAIN, status: 503, isPrivate: true, tags: "any" }),
  ];
  const entries = values.map((value, i) => ({ key: `key ${i}`, value }));
  const writes: Record<string, (writer: InstanceType<typeof FrameWriter>) => void> = {
    get: (writer) => writer.get(5, 1, 500, LABEL, "Äpfel 😀"),
    getFor: (writer) => writer.getFor(5, 1, 500, LABEL, "/a?b", { fields: [["accept", "text/*"], ["x", "é"]] }),
    peek: (writer) => writer.peek(5, 1, 500, "apple"),
    push: (writer) => writer.push(5, 1, entries, true, NOW_MS),
    catchUp: (writer) => writer.catchUp(5, 250, LABEL),
    caughtUp: (writer) => writer.caughtUp(5, LABEL),
    applied: (writer) => writer.applied(LABEL),
    taken: (writer) => writer.taken(5, 2),
    indirectProbe: (writer) => writer.indirectProbe(5, 250, SELF.name, SELF.incarnation),
    indirectProbed: (writer) => writer.indirectProbed(5, true),
    groupAdded: (writer) => writer.groupAdded({ id: 3, name: "dict", revision: 7, isEmpty: true }),
    groupRemoved: (writer) => writer.groupRemoved(3),
    parted: (writer) => writer.parted(9, MessageType.value, 5, 300_000),
    piece: (writer) => writer.piece(9, utf8("head"), utf8("body")),
  };
  values.forEach((value, i) => writes[`value ${i}`] = (writer) => writer.value(5, value, NOW_MS));
  for (const type of ["cancel", "nothing", "probe", "probed", "pieceTaken", "dropped"] as const) {
    writes[type] = (writer) => writer.bare(MessageType[type], 5);
  }
  for (const [name, code] of Object.entries(FailureCode)) {
    writes[`failure ${name}`] = (writer) => writer.failure(5, code, "why: é");
  }
  const frameOf = (...all: typeof writes[string][]): Sample => {
    const writer = new FrameWriter();
    for (const write of all) write(writer);
    return { kind: "frame", bytes: writer.take().slice() };
  };
  const whole = (kind: Kind, { head, body }: { head: Bytes; body: Bytes }): Sample => ({
    kind,
    bytes: new Uint8Array([...head, ...body]),
  });
  return {
    ...Object.fromEntries(Object.entries(writes).map(([name, write]) => [name, frameOf(write)])),
    "all messages in one frame": frameOf(...Object.values(writes)),
    "value in pieces": whole("value in pieces", valuePayload(values[2]!, NOW_MS)),
    "push in pieces": whole("push in pieces", pushPayload(1, entries.slice(2, 3), false, NOW_MS)),
    "push of several in pieces": whole("push in pieces", pushPayload(1, entries, false, NOW_MS)),
  };
}

function valueOf(body: string, about: About, freshUntilMs = NOW_MS + 60_000): Value {
  return {
    body: utf8(body),
    contentType: body === "" ? "" : "text/plain; charset=utf-8",
    bornAtMs: NOW_MS - 1_500,
    freshUntilMs,
    staleWhileRevalidateMs: 10,
    staleIfErrorMs: Infinity,
    loadMs: 45,
    about,
    label: LABEL,
  };
}

function greetingsOf({ ownGroups: { OwnGroups }, frames: { MessageType }, writer: { FrameWriter } }: Modules) {
  const names = ["dict", "site"];
  const groups = new OwnGroups({
    self: SELF,
    names,
    revisions: () => ({ dict: 7, site: 9 }),
    isEmpty: (group) => group === "site",
  });
  const { json } = groups.greeting(ACCEPTOR.incarnation);
  const greeting = (kind: Kind, type: 1 | 2 | 3, content: Parameters<typeof FrameWriter.prototype.greeting>[1]) => {
    const writer = new FrameWriter();
    writer.greeting(type, content);
    return { kind, bytes: writer.take().slice() };
  };
  return {
    hello: greeting("hello", MessageType.hello, json),
    welcome: greeting("answer", MessageType.welcome, json),
    refusal: greeting("answer", MessageType.refuse, { code: "outlived", detail: "a later life is listed" }),
  };
}

async function proofOf({ proof: { fieldOf, challengeText, proofText } }: Modules): Promise<Record<string, Sample>> {
  const claim = { ...SELF, nonce: NONCE };
  const [asAcceptor, asDialer] = [identityOf(ACCEPTOR), identityOf(SELF)];
  const challenge = {
    challenge: CHALLENGE,
    signature: await asAcceptor.sign(challengeText(claim, ACCEPTOR, CHALLENGE)),
  };
  const signature = await asDialer.sign(proofText(claim, ACCEPTOR, CHALLENGE));
  return {
    claim: { kind: "claim", bytes: utf8(fieldOf(claim)) },
    challenge: { kind: "challenge", bytes: utf8(fieldOf(challenge)) },
    proof: { kind: "proof", bytes: utf8(fieldOf({ ...claim, challenge: CHALLENGE, signature })) },
  };
}

function inNats(modules: Modules): Record<string, Sample> {
  const { record: { encodeRecord }, seal: { Seal }, policy: { policyDigest, originDigest } } = modules;
  const { encodeInvalidation, invalidationOf } = modules.invalidation;
  const group = defaultGroup(modules);
  const record = recordOf(SELF.name, {
    incarnation: SELF.incarnation,
    url: "http://127.0.0.1:8000",
    key: identityOf(SELF).key,
    policy: policyDigest(group),
    origin: originDigest(group),
  });
  const encoded = encodeRecord("dict", record);
  const sampleOf = (more: object): Sample => ({
    kind: "record",
    bytes: new Uint8Array(encodeRecord("dict", { ...record, ...more })),
  });
  const messages = {
    keys: { keys: ["apple", "ä"], soft: true },
    prefixes: { prefixes: ["/a/"] },
    tags: { tags: ["page", "menü"] },
    all: { all: true },
  };
  const invalidations = Object.entries(messages).map(([name, message]): [string, Sample] => [
    `invalidation of ${name}`,
    { kind: "invalidation", bytes: new Uint8Array(encodeInvalidation(invalidationOf(message))) },
  ]);
  const definitions = {
    dict: { origin: "dict://127.0.0.1/wn", ttlMs: 60_000, replicas: 2 },
    site: { origin: "http://127.0.0.1:9/*", hosts: ["a.example"], headers: { "x-a": "b" }, staleIfErrorMs: 5_000 },
  };
  return {
    record: sampleOf({}),
    "record with a long policy": sampleOf({ policy: policyDigest(atItsLongest(group)) }),
    "record that drains": sampleOf({ state: "draining", weight: 2.5, zone: "eu-1" }),
    "record with a secret": {
      kind: "sealed record",
      bytes: new Uint8Array(new Seal([SECRET]).sign(SUBJECT, encoded)),
    },
    "policy by default": { kind: "policy", bytes: utf8(policyDigest(group)) },
    ...Object.fromEntries(invalidations),
    ...Object.fromEntries(
      Object.entries(definitions).map(([name, definition]): [string, Sample] => [
        `definition of a ${name} group`,
        { kind: "definition", bytes: utf8(JSON.stringify(definition)) },
      ]),
    ),
  };
}

/** The group of a node without options. */
function defaultGroup({ groupFields: { defaultPolicy } }: Modules): GroupConfig {
  return { ...defaultPolicy, name: "dict", origin: "wordnet:", ttlMs: null, headers: [] };
}

/** Each figure as long as a policy can have it. */
function atItsLongest(group: GroupConfig): GroupConfig {
  const longest = Object.entries(group).map(([field, value]) => [
    field,
    typeof value === "number" || value === null ? Number.MAX_SAFE_INTEGER : value,
  ]);
  return Object.fromEntries(longest) as unknown as GroupConfig;
}

function placement() {
  return {
    peers: Array.from({ length: 7 }, (_, i) => ({ name: `10-0-0-${i}-8000`, weight: i < 4 ? 1 : i / 2 })),
    keys: ["apple", "ä", "日本語", "🙂", "a b", ...Array.from({ length: 40 }, (_, i) => `key ${i}`)],
  };
}
