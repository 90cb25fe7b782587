import { MAX_NAME_UNITS } from "../core/base/limits.ts";
import { MessageType, PROTOCOL, type ProtocolRange } from "./wire/frames.ts";
import type { Greeting, Self } from "./wire/greeting.ts";
import { FrameWriter } from "./wire/writer.ts";

/** A group of this node. After a removal and a new addition it is another object, and each channel gives it another id. */
export interface OwnGroup {
  readonly name: string;
}

/** A greeting of this node and the groups that it announces. The group at index `i` has the id `i`. */
export interface OwnGreeting {
  readonly json: Greeting & {
    /** Pads the greeting. */
    readonly unused?: string;
  };
  readonly groups: readonly OwnGroup[];
}

export interface OwnGroupsOptions {
  readonly self: Self;
  /** @default PROTOCOL */
  readonly protocol?: ProtocolRange;
  readonly names: readonly string[];
  /** The current revision of each group's roster; 0 if there is none. */
  readonly revisions: () => Readonly<Record<string, number>>;
  /** Whether this node has no value of a group, in memory or in flight. Only called for groups of the set. */
  readonly isEmpty: (group: string) => boolean;
}

/**
 * The shortest greeting: longer than one packet on any path between hosts. On a path that drops large packets, as with
 * a wrong MTU under an overlay, probes would arrive but values would not. So such a path must not open.
 */
const MIN_GREETING_BYTES = 2_048;

/** The longest incarnation that the registry accepts, as greetings name the peer's incarnation. */
const LONGEST_INCARNATION = "x".repeat(64);

/** The groups of this node. They may change while it runs; there are never more than a greeting can hold. */
export class OwnGroups {
  readonly #options: OwnGroupsOptions;
  readonly #groups = new Map<string, OwnGroup>();

  /** @throws RangeError as `add` */
  constructor(options: OwnGroupsOptions) {
    this.#options = options;
    for (const name of options.names) this.add(name);
  }

  get(name: string): OwnGroup | undefined {
    return this.#groups.get(name);
  }

  all(): Iterable<OwnGroup> {
    return this.#groups.values();
  }

  /**
   * Adding a group again changes nothing.
   *
   * @returns whether the set has changed
   * @throws RangeError the name does not have 1 to 256 well-formed characters, or no greeting could hold the groups;
   * then nothing has changed
   */
  add(name: string): boolean {
    if (this.#groups.has(name)) return false;
    if (name.length < 1 || name.length > MAX_NAME_UNITS || !name.isWellFormed()) {
      throw new RangeError(
        `Cannot add a group as its name must have 1 to ${MAX_NAME_UNITS} well-formed characters: this has ${name.length}`,
      );
    }
    this.checkSize([...this.#groups.keys(), name]);
    this.#groups.set(name, { name });
    return true;
  }

  /** @returns whether it was there */
  remove(name: string): boolean {
    return this.#groups.delete(name);
  }

  /** The current news about the group for a peer. */
  newsOf({ name }: OwnGroup): { name: string; revision: number; isEmpty: boolean } {
    const { revisions, isEmpty } = this.#options;
    return { name, revision: revisions()[name] ?? 0, isEmpty: isEmpty(name) };
  }

  /** The current greeting for the life `expects` of a peer. */
  greeting(expects: string): OwnGreeting {
    const groups = [...this.#groups.values()];
    const revisions = this.#options.revisions();
    const json = this.#greetingOf(
      expects,
      groups.map(({ name }) => ({ name, revision: revisions[name] ?? 0, isEmpty: this.#options.isEmpty(name) })),
    );
    return { json, groups };
  }

  #greetingOf(expects: string, groups: readonly { name: string; revision: number; isEmpty: boolean }[]) {
    const { self: { name, incarnation }, protocol = PROTOCOL } = this.#options;
    const json = { protocol, name, incarnation, expects, groups: groups.map((group, id) => ({ id, ...group })) };
    const missing = MIN_GREETING_BYTES - JSON.stringify(json).length;
    return { ...json, unused: " ".repeat(Math.max(0, missing)) };
  }

  /** @throws RangeError a greeting with these groups may become too long */
  checkSize(names: readonly string[]): void {
    const widest = names.map((name) => ({ name, revision: Number.MAX_SAFE_INTEGER, isEmpty: false }));
    const greeting = this.#greetingOf(LONGEST_INCARNATION, widest);
    new FrameWriter().greeting(MessageType.hello, greeting);
  }
}
