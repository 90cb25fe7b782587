import { askersOf } from "../../registry/store/store.ts";

/**
 * In which lists of the registry a node stands, and which it follows. A group has two: the peers that serve it, and the nodes
 * that only ask for it.
 */
export class GroupLists {
  readonly #serve: readonly string[] | undefined;

  /** @param serve the groups that the node serves of those that it has; `undefined`: all */
  constructor(serve: readonly string[] | undefined) {
    this.#serve = serve;
  }

  isServed(group: string): boolean {
    return this.#serve?.includes(group) ?? true;
  }

  /** The one that has this node's record. */
  ownOf(group: string): string {
    return this.isServed(group) ? group : askersOf(group);
  }

  /** The one that it only reads. */
  otherOf(group: string): string {
    return this.isServed(group) ? askersOf(group) : group;
  }

  /** What it must have joined to be ready: with its record in one list, and as a reader of the other's peers. */
  joinedOf(group: string): readonly string[] {
    return this.isServed(group) ? [group] : [group, askersOf(group)];
  }

  /** Both. */
  bothOf(group: string): readonly string[] {
    return [group, askersOf(group)];
  }
}
