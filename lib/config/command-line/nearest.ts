/** Longer words are not compared. Derived: the longest option has 19 letters. */
const MAX_CHARS = 40;

/**
 * The word that the user probably meant: one change away, or two if it has six letters or more. A change is an added, a
 * missing or a different letter (Levenshtein).
 */
export function nearest(typed: string, words: Iterable<string>): string | undefined {
  if (typed.length > MAX_CHARS) return undefined;
  let best: string | undefined;
  let least = typed.length < 6 ? 2 : 3;
  for (const word of words) {
    const changes = changesBetween(typed, word);
    if (changes >= least) continue;
    least = changes;
    best = word;
  }
  return best;
}

function changesBetween(one: string, other: string): number {
  let row = Array.from({ length: other.length + 1 }, (_, at) => at);
  for (let i = 1; i <= one.length; i++) {
    const next = [i];
    for (let j = 1; j <= other.length; j++) {
      const kept = row[j - 1]! + (one[i - 1] === other[j - 1] ? 0 : 1);
      next.push(Math.min(kept, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[other.length]!;
}
