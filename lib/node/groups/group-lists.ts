import { askersOf } from "../../registry/store/store.ts";

/**
 * The lists of the registry that a node joins or follows. A group has two: one of the peers that serve it, and one of
 * the nodes that only ask for it.
 */
export class GroupLists {
  readonly #serve: readonly string[] | undefined;

  /** @param serve those of its groups that the node serves; `undefined`: all */
  constructor(serve: readonly string[] | undefined) {
    this.#serve = serve;
  }

  isServed(group: string): boolean {
    return this.#serve?.includes(group) ?? true;
  }

  /** The list that has this node's record. */
  ownOf(group: string): string {
    return this.isServed(group) ? group : askersOf(group);
  }

  /** The list that this node only reads. */
  otherOf(group: string): string {
    return this.isServed(group) ? askersOf(group) : group;
  }

  /** The lists that the node must have joined to be ready: one with its record, and the other as a reader. */
  joinedOf(group: string): readonly string[] {
    return this.isServed(group) ? [group] : [group, askersOf(group)];
  }

  /** Both lists of the group. */
  bothOf(group: string): readonly string[] {
    return [group, askersOf(group)];
  }
}
