/** What is fuzzed: a parser, inputs to start from, and what must hold for each input. */
import assert from "node:assert/strict";
import { ConfigError } from "../../lib/core/errors.ts";
import type { Dice } from "./dice.ts";

export interface Target {
  readonly name: string;
  /** Real inputs, mostly made by the writers, so that they change with the format. Found inputs are files beside them. */
  readonly seeds: readonly Uint8Array<ArrayBuffer>[];
  /** Words of the format, which chance would not write. */
  readonly tokens: readonly string[];
  /** Whether the seeds are JSON: then fields are dropped, doubled, nested and replaced, too. */
  readonly isJson?: boolean;
  /** Makes an input from nothing, right in its shape. */
  readonly make?: (dice: Dice) => Uint8Array<ArrayBuffer>;
  /** @returns whether the parser took it. Throws where a property does not hold; what the parser may throw is caught */
  readonly run: (input: Uint8Array<ArrayBuffer>) => boolean | Promise<boolean>;
}

type ErrorClass = abstract new (...args: never[]) => Error;

const encoder = new TextEncoder();
const latin1 = new TextDecoder("latin1");
const lenient = new TextDecoder();

/** The messages of the engines' own errors, V8's and JavaScriptCore's: these classes are ours as well. */
const ENGINES =
  /undefined|is not (?:a function|iterable|a constructor)|evaluating '|call stack|Invalid (?:array|string|URL)|\bCannot (?:read|set|convert)\b/;
/** Chosen: a message is for one line of a log. */
const MAX_MESSAGE_UNITS = 4_096;
/** A configuration's message has a line for each of at most a hundred faults, with the rule that it breaks. */
const MAX_CONFIG_MESSAGE_UNITS = 128 * 1024;

export const utf8 = (text: string): Uint8Array<ArrayBuffer> => encoder.encode(text);
export const json = (value: unknown): Uint8Array<ArrayBuffer> => encoder.encode(JSON.stringify(value));
/** A byte a character, as HTTP's fields come. */
export const latin1Of = (input: Uint8Array): string => latin1.decode(input);
export const textOf = (input: Uint8Array): string => lenient.decode(input);

/**
 * Calls a parser that may throw errors of some classes only.
 *
 * @returns what it returned, in a list; `undefined` when it threw such an error
 */
export function tried<T>(parse: () => T, ...allowed: readonly ErrorClass[]): [T] | undefined {
  try {
    return [parse()];
  } catch (error) {
    checkError(error, allowed);
    return undefined;
  }
}

/** Throws unless the error is one of those that the parser may throw, with words for people. */
export function checkError(error: unknown, allowed: readonly ErrorClass[]): void {
  if (!allowed.some((known) => error instanceof known)) throw error;
  const { message } = error as Error;
  assert.ok(!ENGINES.test(message), `an engine's own error: ${(error as Error).stack}`);
  // A fault stands in a line of its own, or behind a semicolon.
  for (const part of error instanceof ConfigError ? message.split(/\n|; /) : [message]) checkMessage(`${part}.`);
  assert.ok(message.length <= MAX_CONFIG_MESSAGE_UNITS, `a message of ${message.length} characters`);
}

/** A message goes into logs, which escape it, and into answers: it must not be as long as what a stranger sent. */
export function checkMessage(message: string): void {
  assert.ok(message !== "" && message.length <= MAX_MESSAGE_UNITS, `a message of ${message.length} characters`);
}
