/**
 * Lists whose links are fields of their elements.
 *
 * Why not a Set or a Map: one that lives long and keeps changing gets a new table now and then. V8 puts it into the old
 * generation, and the old table keeps what it names alive. Every third request that waited for a peer outlived its answer
 * that way: 7 % of the CPU time on Deno (measured).
 */

/** An element, in a list or alone as a ring of one. A list's head is one too, so the ends are no special cases. */
export interface ListNode {
  previous: ListNode;
  next: ListNode;
}

/** The head of an empty list. */
export function emptyList(): ListNode {
  const head = {} as ListNode;
  head.previous = head.next = head;
  return head;
}

/** Whether an element is in a list; for a head, whether its list has elements. */
export function isLinked(one: ListNode): boolean {
  return one.next !== one;
}

/** Adds an element that is in no list to the end of `list`. */
export function append(list: ListNode, one: ListNode): void {
  const { previous } = list;
  one.previous = previous;
  one.next = list;
  previous.next = one;
  list.previous = one;
}

/** Takes an element out of its list, if it is in one. It then refers to no other, so it keeps none alive. */
export function unlink(one: ListNode): void {
  const { previous, next } = one;
  previous.next = next;
  next.previous = previous;
  one.previous = one.next = one;
}
