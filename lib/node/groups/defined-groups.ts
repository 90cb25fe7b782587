/**
 * The groups that operators define in NATS while the node runs. Each is made, changed and ended together with its
 * definition.
 */
import { readDefinition } from "../../config/definition.ts";
import type { GroupConfig } from "../../config/config.ts";
import { UNSIGNED, UNSIGNED_FAULT } from "../../core/base/unsigned.ts";
import type { Log } from "../../core/base/log.ts";
import { ConfigError } from "../../core/errors.ts";
import type { DefinitionsFigures } from "../../http/figures.ts";
import { type DefinitionsView, maxDefinitionBytes } from "../../registry/store/definitions.ts";

/** The part of a node that makes and ends groups. */
export interface GroupKeeper {
  /** @throws TypeError, RangeError the node cannot serve it */
  addGroup(config: GroupConfig): void;
  /** @throws TypeError as `addGroup` */
  changeGroup(config: GroupConfig): void;
  removeGroup(name: string): Promise<boolean>;
}

export interface DefinedGroupsOptions {
  readonly keeper: GroupKeeper;
  /** Whether the node's own options name the group; own options come first, see `ownChanged`. */
  readonly isOwn: (group: string) => boolean;
  /** Whether the node serves a group itself; if not, it asks the peers that do. */
  readonly serves: (group: string) => boolean;
  /** @throws ConfigError the rule that an origin's text breaks */
  readonly checkOrigin: (origin: string) => void;
  readonly log: Log;
}

/** A refused definition, with the reason. */
interface Refused {
  readonly text: string;
  readonly reason: string;
}

const OWN_COMES_FIRST = "this node has a group of that name by its own options, which come first";

const decoder = new TextDecoder();

/** The defined groups of one node. */
export class DefinedGroups {
  readonly #options: DefinedGroupsOptions;
  /** The definitions that are followed, by group. */
  readonly #running = new Map<string, string>();
  readonly #refused = new Map<string, Refused>();
  #view: DefinitionsView = { revision: 0, definitions: new Map() };

  constructor(options: DefinedGroupsOptions) {
    this.#options = options;
  }

  /** Follows all definitions. A group goes on if its definition is missing but was not deleted. */
  update(view: DefinitionsView): void {
    this.#view = view;
    this.#follow(false);
  }

  #follow(isRefusedTriedAgain: boolean): void {
    const { definitions } = this.#view;
    for (const [name, bytes] of definitions) {
      if (bytes === undefined) this.#deleted(name);
      else this.#defined(name, bytes, isRefusedTriedAgain);
    }
    for (const name of this.#refused.keys()) if (!definitions.has(name)) this.#refused.delete(name);
  }

  /**
   * Called when the groups of the node's own options have changed. A definition gives way to an own group of its name,
   * which has already replaced it, and is followed again when that group has ended. The same is true for a definition
   * that was refused because an own group had its host.
   */
  ownChanged(): void {
    const { isOwn } = this.#options;
    for (const name of this.#running.keys()) if (isOwn(name)) this.#running.delete(name);
    this.#follow(true);
  }

  figures(): DefinitionsFigures {
    const refused = [...this.#refused].map(([group, { reason }]) => ({ group, reason }));
    return { revision: this.#view.revision, groups: [...this.#running.keys()].sort(), refused };
  }

  #defined(name: string, bytes: Uint8Array, isRefusedTriedAgain: boolean): void {
    // For a definition that is too long only the length matters.
    const text = bytes.byteLength > maxDefinitionBytes ? "" : decoder.decode(bytes);
    if (this.#running.get(name) === text) return void this.#refused.delete(name);
    if (!isRefusedTriedAgain && this.#refused.get(name)?.text === text) return;
    const { keeper, log } = this.#options;
    const isNew = !this.#running.has(name);
    try {
      const config = this.#read(name, bytes);
      if (isNew) keeper.addGroup(config);
      else keeper.changeGroup(config);
    } catch (error) {
      return this.#refuse(name, text, error);
    }
    this.#running.set(name, text);
    this.#refused.delete(name);
    const { revision } = this.#view;
    const did = !isNew ? "changed" : this.#options.serves(name) ? "serving" : "asking for";
    log.info(`${did} the group ${name} as it is defined in NATS (revision ${revision})`, {}, { group: name, revision });
  }

  /** @throws ConfigError */
  #read(name: string, bytes: Uint8Array): GroupConfig {
    const { isOwn, checkOrigin } = this.#options;
    if (!/^[A-Za-z0-9_-]{1,64}$/.test(name)) throw new ConfigError("its name is not 1 to 64 of A-Z a-z 0-9 _ -");
    if (isOwn(name)) throw new ConfigError(OWN_COMES_FIRST);
    if (bytes === UNSIGNED) throw new ConfigError(UNSIGNED_FAULT);
    if (bytes.byteLength > maxDefinitionBytes) throw new ConfigError(`it is longer than ${maxDefinitionBytes} bytes`);
    return readDefinition(name, bytes, checkOrigin);
  }

  /** Refuses a definition; the running group stays as it is. */
  #refuse(name: string, text: string, error: unknown): void {
    const isExpected = error instanceof ConfigError || error instanceof TypeError || error instanceof RangeError;
    if (!isExpected) throw error;
    const reason = error.message;
    const before = this.#refused.get(name);
    if (before?.text === text && before.reason === reason) return;
    this.#refused.set(name, { text, reason });
    this.#options.log.warn(`cannot follow the definition of the group ${name}: ${reason}`, {}, { group: name, reason });
  }

  #deleted(name: string): void {
    this.#refused.delete(name);
    if (!this.#running.delete(name)) return;
    const { keeper, log } = this.#options;
    log.info(`ended the group ${name}, as its definition was deleted`, {}, { group: name });
    void keeper.removeGroup(name);
  }
}
