/**
 * What two peers say before they ask: who they are, what they serve, and why not.
 *
 * The peer with the smaller name dials; it says hello, the other end says welcome or refuses. The one that waits to be
 * dialed, in vain, says hello as well: it is refused, but heard of. Both greetings have the same content, so that both
 * ends know the other's groups (a get names its group by its place in the asker's list) and how far the other has heard
 * of each roster.
 */
import * as v from "valibot";
import { readFrame } from "./reader.ts";
import { MessageType, PROTOCOL } from "./frames.ts";

const text = v.pipe(v.string(), v.minLength(1), v.maxLength(256));

const GreetingSchema = v.object({
  protocol: v.literal(PROTOCOL),
  name: text,
  incarnation: text,
  /** The incarnation of the peer that is meant: somebody else on its port must not answer for it. */
  expects: text,
  groups: v.pipe(
    v.array(v.object({
      name: text,
      revision: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
      /** It has nothing of this group, in memory or in the air: what was its own before is not to be looked for here. */
      isEmpty: v.optional(v.boolean()),
    })),
    v.maxLength(1024),
  ),
});
export type Greeting = v.InferOutput<typeof GreetingSchema>;

const RefusalSchema = v.object({
  /** `protocol`, `stranger`, `outlived`, `incarnation`, `direction`, `malformed`; a newer peer may know more. */
  code: v.pipe(v.string(), v.maxLength(32)),
  detail: v.pipe(v.string(), v.maxLength(512)),
});
export type Refusal = v.InferOutput<typeof RefusalSchema>;

/** One's own half of every greeting. */
export interface Self {
  readonly name: string;
  readonly incarnation: string;
}

/**
 * @param groups in the order by which gets name them
 * @param isEmpty whether this node has nothing of a group now
 */
export function greetingOf(
  self: Self,
  expects: string,
  groups: readonly string[],
  revisions: Readonly<Record<string, number>>,
  isEmpty: (group: string) => boolean,
): Greeting {
  return {
    protocol: PROTOCOL,
    name: self.name,
    incarnation: self.incarnation,
    expects,
    groups: groups.map((name) => ({ name, revision: revisions[name] ?? 0, isEmpty: isEmpty(name) })),
  };
}

/** Another version of the protocol is told from nonsense. */
function parseGreeting(json: unknown): Greeting | Refusal {
  const protocol = v.safeParse(v.object({ protocol: v.number() }), json);
  if (!protocol.success) return { code: "malformed", detail: "no greeting" };
  if (protocol.output.protocol !== PROTOCOL) {
    return { code: "protocol", detail: `this peer speaks version ${PROTOCOL}, not ${protocol.output.protocol}` };
  }
  const parsed = v.safeParse(GreetingSchema, json);
  if (parsed.success) return parsed.output;
  return { code: "malformed", detail: parsed.issues[0].message.slice(0, 200) };
}

/**
 * Whether the one who refuses is the peer that was meant, in its life: it lives, but does not know us yet, or it does and
 * will dial.
 */
export function isSignOfLife({ code }: Refusal): boolean {
  return code === "stranger" || code === "direction";
}

/** Tells a refusal from a greeting. */
export function isRefusal(answer: Greeting | Refusal): answer is Refusal {
  return "code" in answer;
}

/** The hello in a dialer's first frame. */
export function readHello(frame: Uint8Array<ArrayBuffer> | undefined): Greeting | Refusal {
  const read = readFirstFrame(frame);
  if ("code" in read) return read;
  return read.type === MessageType.hello ? parseGreeting(read.json) : { code: "malformed", detail: "not a hello" };
}

/** The welcome or refusal in an acceptor's first frame. */
export function readAnswer(frame: Uint8Array<ArrayBuffer> | undefined): Greeting | Refusal {
  const read = readFirstFrame(frame);
  if ("code" in read) return read;
  if (read.type === MessageType.welcome) return parseGreeting(read.json);
  const parsed = read.type === MessageType.refuse ? v.safeParse(RefusalSchema, read.json) : undefined;
  return parsed?.success ? parsed.output : { code: "malformed", detail: "neither welcome nor refusal" };
}

function readFirstFrame(frame: Uint8Array<ArrayBuffer> | undefined): { type: number; json: unknown } | Refusal {
  if (frame === undefined) return { code: "malformed", detail: "not a binary frame" };
  const tooEarly = () => "no greeting in the first frame";
  let read: { type: number; json: unknown } | undefined;
  const reason = readFrame(frame, {
    onGreeting: (type, json) => void (read = { type, json }),
    onGet: tooEarly,
    onCancel: tooEarly,
    onValue: tooEarly,
    onFailure: tooEarly,
    onPeek: tooEarly,
    onNothing: tooEarly,
    onProbe: tooEarly,
    onProbed: tooEarly,
    onIndirectProbe: tooEarly,
    onIndirectProbed: tooEarly,
    onPush: tooEarly,
    onTaken: tooEarly,
  });
  return read ?? { code: "malformed", detail: reason ?? "no greeting" };
}
