/** Changes inputs: bytes as bytes, and JSON as JSON. */
import { Buffer } from "node:buffer";
import type { Dice } from "./dice.ts";
import type { Target } from "./target.ts";

/** The longest input, but for what a target makes. Watchdogs are for this size. */
export const MAX_INPUT_BYTES = 64 * 1024;
const BYTES = [0, 1, 0x09, 0x0a, 0x0d, 0x20, 0x22, 0x25, 0x2c, 0x2e, 0x2f, 0x3b, 0x3d, 0x5c, 0x7f, 0x80, 0xc3, 0xff];
const NUMBERS = [0, 1, 2, 9, 125, 126, 127, 128, 255, 256, 1_024, 0x7fff, 0x8000, 0xffff, 0x1_0000, 0x7fff_ffff];
const HUGE = [
  2 ** 31,
  2 ** 32 - 1,
  2 ** 52,
  2 ** 53 - 1,
  2 ** 53,
  2 ** 63,
  -1,
  -0,
  NaN,
  Infinity,
  -Infinity,
  0.5,
  1e-300,
];
const encoder = new TextEncoder();
const decoder = new TextDecoder();

type Bytes = Uint8Array<ArrayBuffer>;

/** Mutates once, or up to eight times. @param pool other inputs, to take parts of */
export function mutated(input: Bytes, { tokens, isJson }: Target, pool: readonly Bytes[], dice: Dice): Bytes {
  let bytes = input;
  if (isJson === true && dice.isIn(0.6)) {
    const changed = changedJson(decoder.decode(bytes), tokens, dice);
    if (changed !== undefined) bytes = encoder.encode(changed);
    if (dice.isIn(0.7)) return bounded(bytes);
  }
  for (let left = 1 << dice.below(4); left > 0; left--) bytes = changed(bytes, tokens, pool, dice);
  return bounded(bytes);
}

/** Repeats a part of the input until it has about so many bytes: what takes time in the square of it is found so. */
export function stretched(input: Bytes, tokens: readonly string[], dice: Dice, bytes: number): Bytes {
  const from = dice.below(input.length);
  const to = from + 1 + dice.size(Math.min(32, input.length - from));
  const part = tokens.length > 0 && dice.isIn(0.5) ? encoder.encode(dice.pick(tokens)) : input.subarray(from, to);
  if (part.length === 0) return input;
  const times = Math.max(1, Math.floor((bytes - input.length) / part.length));
  const repeated = Buffer.alloc(times * part.length, part);
  return joined(input.subarray(0, to), repeated, input.subarray(to));
}

function bounded(bytes: Bytes): Bytes {
  return bytes.length > MAX_INPUT_BYTES ? bytes.slice(0, MAX_INPUT_BYTES) : bytes;
}

function joined(...parts: readonly Uint8Array[]): Bytes {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function changed(bytes: Bytes, tokens: readonly string[], pool: readonly Bytes[], dice: Dice): Bytes {
  const { length } = bytes;
  const at = dice.below(length + 1);
  const end = Math.min(length, at + 1 + dice.size(64));
  const [before, behind] = [bytes.subarray(0, at), bytes.subarray(at)];
  switch (dice.below(length === 0 ? 3 : 12)) {
    case 0:
      return joined(before, dice.bytes(1 + dice.size(16)), behind);
    case 1:
      return joined(before, Uint8Array.of(dice.pick(BYTES)), behind);
    case 2:
      return joined(before, tokens.length === 0 ? dice.bytes(1) : encoder.encode(dice.pick(tokens)), behind);
    case 3:
      return joined(before, bytes.subarray(end));
    case 4:
      return bytes.slice(0, at);
    case 5: {
      const other = dice.pick(pool);
      const from = dice.below(other.length);
      return joined(
        before,
        other.subarray(from, from + 1 + dice.size(256)),
        dice.isIn(0.5) ? behind : bytes.subarray(end),
      );
    }
    case 6: {
      const part = bytes.subarray(at, end);
      return joined(before, ...Array.from({ length: 2 + dice.size(200) }, () => part), behind);
    }
    case 7:
    case 8:
      return withNumber(bytes.slice(), at, dice);
    case 9: {
      const word = tokens.length === 0 ? dice.bytes(2) : encoder.encode(dice.pick(tokens));
      return joined(before, word, bytes.subarray(at + word.length));
    }
    default: {
      const copy = bytes.slice();
      const place = Math.min(at, length - 1);
      copy[place] = dice.isIn(0.5) ? copy[place]! ^ 1 << dice.below(8) : dice.pick(BYTES);
      return copy;
    }
  }
}

/** Writes a number that stands on a border, little-endian as frames have them, big-endian as WebSocket does, or in digits. */
function withNumber(bytes: Bytes, at: number, dice: Dice): Bytes {
  const view = new DataView(bytes.buffer);
  const number = dice.pick(NUMBERS) + dice.below(3) - 1;
  const isLittle = dice.isIn(0.7);
  const room = bytes.length - at;
  const width = dice.pick([2, 4, 8, 0]);
  if (width === 0 || room < width) {
    return joined(
      bytes.subarray(0, at),
      encoder.encode(String(dice.pick([number, dice.pick(HUGE)]))),
      bytes.subarray(at),
    );
  }
  if (width === 2) view.setUint16(at, number, isLittle);
  else if (width === 4) view.setUint32(at, number, isLittle);
  else if (isLittle) view.setFloat64(at, dice.pick([number, dice.pick(HUGE)]));
  else view.setBigUint64(at, BigInt(Math.max(0, number)));
  return bytes;
}

/** JSON as text, for values that JSON.stringify would not write. */
const ODD_JSON = [
  ...[
    "null",
    "true",
    "0",
    "-1",
    "1.5",
    "-0",
    "1e400",
    "1e-400",
    "9007199254740993",
    "{}",
    "[]",
    "[[]]",
    '""',
    '"a"',
    '" "',
  ],
  ...[
    '"\\ud800"',
    '"\\u0000"',
    '"\\u001b[2J"',
    '"\u2028"',
    '"😀"',
    '"__proto__"',
    '{"__proto__":{"a":1}}',
    '{"toString":1}',
  ],
];

/** One node of the tree is changed; `undefined` where the text is no JSON. */
function changedJson(text: string, tokens: readonly string[], dice: Dice): string | undefined {
  let tree: unknown;
  try {
    tree = JSON.parse(text);
    return writeChanged(tree, { left: dice.below(countOf(tree)) }, tokens, dice);
  } catch {
    return undefined;
  }
}

function countOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 1;
  return Object.values(value).reduce((sum: number, child) => sum + countOf(child), 1);
}

/** @param place counts down to the node that is changed */
function writeChanged(value: unknown, place: { left: number }, tokens: readonly string[], dice: Dice): string {
  if (place.left-- === 0) return oddOf(value, tokens, dice);
  if (Array.isArray(value)) return `[${value.map((child) => writeChanged(child, place, tokens, dice)).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const members = Object.entries(value).map(([name, child]) =>
    `${JSON.stringify(name)}:${writeChanged(child, place, tokens, dice)}`
  );
  return `{${members.join(",")}}`;
}

function oddOf(value: unknown, tokens: readonly string[], dice: Dice): string {
  const text = JSON.stringify(value);
  const token = JSON.stringify(tokens.length > 0 ? dice.pick(tokens) : "a");
  const isTree = typeof value === "object" && value !== null;
  switch (dice.below(isTree ? 10 : 6)) {
    case 0:
      return token;
    case 1:
      return typeof value === "string" ? JSON.stringify(value.repeat(1 + dice.size(2_000))) : `${dice.pick(HUGE)}`;
    case 2: {
      const depth = 1 + dice.size(dice.isIn(0.02) ? 30_000 : 40);
      return dice.isIn(0.5)
        ? "[".repeat(depth) + text + "]".repeat(depth)
        : '{"a":'.repeat(depth) + text + "}".repeat(depth);
    }
    case 3:
      return typeof value === "string" ? JSON.stringify(value.slice(0, dice.below(value.length))) : `[${text},${text}]`;
    case 4:
    case 5:
      return dice.pick(ODD_JSON);
    default:
      return Array.isArray(value) ? changedList(value, token, dice) : changedMembers(value as object, token, dice);
  }
}

function changedList(list: readonly unknown[], token: string, dice: Dice): string {
  const items = list.map((item) => JSON.stringify(item));
  const at = dice.below(items.length + 1);
  const item = dice.pick([...items, token, ...ODD_JSON]);
  if (dice.isIn(0.3)) items.splice(at, 1);
  else items.splice(at, 0, ...Array.from({ length: 1 + dice.size(1_200) }, () => item));
  return `[${items.join(",")}]`;
}

function changedMembers(tree: object, token: string, dice: Dice): string {
  const members = Object.entries(tree).map(([name, child]) => `${JSON.stringify(name)}:${JSON.stringify(child)}`);
  const at = dice.below(members.length + 1);
  const odd = dice.pick(ODD_JSON);
  switch (dice.below(5)) {
    case 0:
      members.splice(at, 1);
      break;
    case 1: // a second field of that name, with another value
      if (at < members.length) members.push(`${JSON.stringify(Object.keys(tree)[at])}:${odd}`);
      break;
    case 2:
      members.splice(at, 0, `${token}:${odd}`);
      break;
    case 3:
      members.splice(at, 0, `${dice.pick(['"__proto__"', '"constructor"', '""', '"\\u0000"'])}:${odd}`);
      break;
    default:
      for (let i = dice.size(400); i >= 0; i--) members.push(`"a${i}":${odd}`);
  }
  return `{${members.join(",")}}`;
}
