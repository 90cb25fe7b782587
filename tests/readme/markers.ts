/** Parts of a Markdown file that a program writes: they stand between two comments, each on a line of its own. */

const linesOf = (name: string) => ({ open: `<!-- ${name} -->\n`, close: `\n<!-- /${name} -->` });

/** The text between the markers of this name; `undefined` unless each marker stands there once. */
export function between(text: string, name: string): string | undefined {
  const { open, close } = linesOf(name);
  const [, rest, ...more] = text.split(open);
  const [inside, after, ...evenMore] = rest?.split(close) ?? [];
  return after === undefined || more.length + evenMore.length > 0 ? undefined : inside;
}

/**
 * The text with another inside between the markers of this name.
 *
 * @throws Error unless each marker stands there once
 */
export function exchanged(text: string, name: string, inside: string): string {
  const { open, close } = linesOf(name);
  if (between(text, name) === undefined) {
    throw new Error(`the text must have ${open.trim()} and ${close.trim()} once each, on lines of their own`);
  }
  return text.slice(0, text.indexOf(open)) + open + inside + text.slice(text.indexOf(close));
}
