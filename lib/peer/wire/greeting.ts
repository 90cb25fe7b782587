/**
 * The greetings: each end tells its name, its life, its groups and its protocol versions.
 *
 * The peer with the smaller name dials and says hello; the other end says welcome or refuses. A node that waits too long to be
 * dialed also says hello: it is refused, but the peer then knows of it. Hello and welcome have the same content.
 */
import * as v from "valibot";
import { MAX_NAME_UNITS } from "../../core/base/limits.ts";
import { readGreeting } from "./reader.ts";
import { MAX_GROUP_ID, MAX_GROUPS, MessageType, type ProtocolRange } from "./frames.ts";

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(MAX_NAME_UNITS));
const version = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const RangeSchema = v.pipe(
  v.object({ min: version, max: version }),
  v.check(({ min, max }) => min <= max, "protocol.min is over protocol.max"),
);

/** The one field that greetings of every version have. In protocol 1 it was a plain number. */
const ProtocolSchema = v.object({ protocol: v.union([v.number(), RangeSchema]) });

/** Further fields are ignored, as a newer release may have more. */
const GreetingSchema = v.object({
  protocol: RangeSchema,
  name: text,
  incarnation: text,
  /** The incarnation of the intended peer: another node on its port must not answer in its place. */
  expects: text,
  /** See GroupNews in frames.ts. */
  groups: v.pipe(
    v.array(v.object({
      id: v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(MAX_GROUP_ID)),
      name: text,
      revision: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
      isEmpty: v.optional(v.boolean()),
    })),
    v.maxLength(MAX_GROUPS),
    v.check((groups) => groups.every(({ id }, i) => i === 0 || id > groups[i - 1]!.id), "group ids do not rise"),
    v.check((groups) => new Set(groups.map(({ name }) => name)).size === groups.length, "a group is named twice"),
  ),
});
export type Greeting = v.InferOutput<typeof GreetingSchema>;

/** A peer's greeting, with the protocol version that both ends now speak. */
export interface PeerGreeting extends Greeting {
  readonly version: number;
}

const RefusalSchema = v.object({
  /** `protocol`, `stranger`, `outlived`, `incarnation`, `direction`, `malformed`; a newer peer may know more. */
  code: v.pipe(v.string(), v.maxLength(32)),
  detail: v.pipe(v.string(), v.maxLength(512)),
});
export type Refusal = v.InferOutput<typeof RefusalSchema>;

/** A node's identity in every greeting. */
export interface Self {
  readonly name: string;
  readonly incarnation: string;
}

/** The newest version that both ends speak; `undefined` if there is none. */
export function commonVersion(own: ProtocolRange, peer: ProtocolRange): number | undefined {
  const newest = Math.min(own.max, peer.max);
  return newest >= own.min && newest >= peer.min ? newest : undefined;
}

/** Checks the version first, as greetings of another protocol may have another shape. */
function parseGreeting(json: unknown, own: ProtocolRange): PeerGreeting | Refusal {
  const told = v.safeParse(ProtocolSchema, json);
  if (!told.success) return { code: "malformed", detail: "no greeting" };
  const { protocol } = told.output;
  if (typeof protocol === "number") return noCommonVersion(own, { min: protocol, max: protocol });
  const version = commonVersion(own, protocol);
  if (version === undefined) return noCommonVersion(own, protocol);
  const parsed = v.safeParse(GreetingSchema, json);
  if (parsed.success) return { ...parsed.output, version };
  return { code: "malformed", detail: parsed.issues[0].message.slice(0, 200) };
}

function noCommonVersion(own: ProtocolRange, peer: ProtocolRange): Refusal {
  const range = ({ min, max }: ProtocolRange) => `${min} to ${max}`;
  return { code: "protocol", detail: `one end speaks protocol ${range(own)}, the other ${range(peer)}` };
}

/**
 * Whether the refusal comes from the intended life of the peer. It lives but does not know this node yet, or it knows
 * this node and will dial.
 */
export function isSignOfLife({ code }: Refusal): boolean {
  return code === "stranger" || code === "direction";
}

/** Tells a refusal from a greeting. */
export function isRefusal(answer: PeerGreeting | Refusal): answer is Refusal {
  return "code" in answer;
}

/** Reads the hello in a dialer's first frame. */
export function readHello(frame: Uint8Array<ArrayBuffer> | undefined, own: ProtocolRange): PeerGreeting | Refusal {
  const read = readFirstFrame(frame);
  if ("code" in read) return read;
  return read.type === MessageType.hello ? parseGreeting(read.json, own) : { code: "malformed", detail: "not a hello" };
}

/** Reads the welcome or refusal in the first frame of the dialed end. */
export function readAnswer(frame: Uint8Array<ArrayBuffer> | undefined, own: ProtocolRange): PeerGreeting | Refusal {
  const read = readFirstFrame(frame);
  if ("code" in read) return read;
  if (read.type === MessageType.welcome) return parseGreeting(read.json, own);
  const parsed = read.type === MessageType.refuse ? v.safeParse(RefusalSchema, read.json) : undefined;
  return parsed?.success ? parsed.output : { code: "malformed", detail: "neither welcome nor refusal" };
}

function readFirstFrame(frame: Uint8Array<ArrayBuffer> | undefined): { type: number; json: unknown } | Refusal {
  if (frame === undefined) return { code: "malformed", detail: "not a binary frame" };
  const read = readGreeting(frame);
  return typeof read === "string" ? { code: "malformed", detail: read } : read;
}
