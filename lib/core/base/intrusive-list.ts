/**
 * Lists of what comes and goes, through the things themselves.
 *
 * Why not a Set, or a Map: V8 gives one that lives long and keeps inserting and deleting a new table every so often, among
 * what lives long, and all that the old table still names outlives its request there, with all that it holds. Of the
 * requests that wait for a peer that was every third, and 7 % of the CPU time on Deno.
 */

/** One in a list, or by itself: a ring of one. Also the head of a list, which then needs no case for its ends. */
export interface ListNode {
  previous: ListNode;
  next: ListNode;
}

/** The head of a list with nothing in it. */
export function emptyList(): ListNode {
  const head = {} as ListNode;
  head.previous = head.next = head;
  return head;
}

/** Whether one is in a list; of a head, whether anything is in its list. */
export function isLinked(one: ListNode): boolean {
  return one.next !== one;
}

/** Puts one that is in no list at the end of `list`. */
export function append(list: ListNode, one: ListNode): void {
  const { previous } = list;
  one.previous = previous;
  one.next = list;
  previous.next = one;
  list.previous = one;
}

/** Takes one out of its list, if it is in one. It names none of the others then, which it would keep with it. */
export function unlink(one: ListNode): void {
  const { previous, next } = one;
  previous.next = next;
  next.previous = previous;
  one.previous = one.next = one;
}
