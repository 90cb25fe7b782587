/**
 * Prints a WordNet entry exactly as in dictd's `wn` database, including the line breaks.
 *
 * Python's `textwrap` made that database, so this is its algorithm with the options used there. (CPython,
 * Lib/textwrap.py: break at white space, after the hyphen of a compound, and around a dash.)
 */

/** In the order of an entry. */
export type PartOfSpeech = "adv" | "adj" | "n" | "v";

export interface Sense {
  /** Definition and examples, as WordNet writes them. */
  readonly gloss: string;
  /** Every word of the synset in its order, including the looked-up word. */
  readonly words: readonly string[];
  /** Every word of every synset that is opposed to this one. */
  readonly antonyms: readonly string[];
}

export interface Section {
  readonly partOfSpeech: PartOfSpeech;
  readonly senses: readonly Sense[];
}

/** Characters in a line, including its indentation. */
const LINE_WIDTH = 68;

/** One entry: the headword, then one numbered paragraph per sense; each line ends with a newline. */
export function printEntry(headword: string, sections: readonly Section[]): string {
  const lines = [headword];
  for (const { partOfSpeech, senses } of sections) {
    for (const [index, sense] of senses.entries()) {
      const label = index === 0 ? `${partOfSpeech} 1: ` : `${index + 1}: `;
      const prefix = " ".repeat(4) + label;
      lines.push(...wrap(printSense(sense), prefix, " ".repeat(prefix.length), LINE_WIDTH));
    }
  }
  return lines.join("\n") + "\n";
}

function printSense({ gloss, words, antonyms }: Sense): string {
  let text = gloss;
  if (words.length > 1) text += ` [syn: ${braced(words)}]`;
  if (antonyms.length > 0) text += ` [ant: ${braced([...new Set(antonyms)].sort())}]`;
  return text;
}

function braced(words: readonly string[]): string {
  return words.map((word) => `{${word}}`).join(", ");
}

/** White space, a dash between words, or a word up to its hyphen, its end, or a dash: textwrap's `wordsep_re`. */
const CHUNK = new RegExp(
  [
    String.raw`(\s+`,
    String.raw`(?<=[\w!"'&.,?])-{2,}(?=\w)`,
    String.raw`\S+?(?:-(?:(?<=[^\d\W]{2}-)|(?<=[^\d\W]-[^\d\W]-))(?=[^\d\W]-?[^\d\W])`,
    String.raw`(?=\s|$)`,
    String.raw`(?<=[\w!"'&.,?])(?=-{2,}\w)))`,
  ].join("|"),
);

/** Breaks `text` into lines of at most `width` characters where it can; a longer word is cut. */
export function wrap(text: string, firstPrefix: string, otherPrefix: string, width: number): string[] {
  const chunks = text.split(CHUNK).filter((chunk) => chunk !== "").reverse();
  const lines: string[] = [];
  while (chunks.length > 0) {
    const prefix = lines.length === 0 ? firstPrefix : otherPrefix;
    const room = width - prefix.length;
    if (lines.length > 0 && isSpace(chunks.at(-1)!)) chunks.pop();
    const line: string[] = [];
    let length = 0;
    while (chunks.length > 0 && length + chunks.at(-1)!.length <= room) {
      const chunk = chunks.pop()!;
      line.push(chunk);
      length += chunk.length;
    }
    if (chunks.length > 0 && chunks.at(-1)!.length > room) {
      const chunk = chunks.pop()!;
      line.push(chunk.slice(0, room - length));
      chunks.push(chunk.slice(room - length));
    }
    if (line.length > 0 && isSpace(line.at(-1)!)) line.pop();
    if (line.length > 0) lines.push(prefix + line.join(""));
  }
  return lines;
}

function isSpace(chunk: string): boolean {
  return chunk.trim() === "";
}
