/**
 * What a README tells its reader to do, as a list of steps. Only fenced blocks count:
 *
 * - `sh`: one command a line. `# -> text` behind a command promises its output; `…` in a promise stands for anything.
 *   `# second terminal` says where the next commands run, `# Ctrl+C in the second terminal` ends what runs there.
 * - `sh no-run: reason`: commands that no test can run. What they name must exist.
 * - `text` after `sh`: lines that the last started node logs.
 * - `json name`, `js name`: a file of the reader's folder.
 */

export type Step =
  & { readonly line: number }
  & (
    | { readonly kind: "command"; readonly command: string; readonly promise?: string; readonly terminal: string }
    | { readonly kind: "interrupt"; readonly terminal: string }
    | { readonly kind: "logs"; readonly lines: readonly string[] }
    | { readonly kind: "file"; readonly name: string; readonly text: string }
    | { readonly kind: "exemption"; readonly commands: readonly string[]; readonly reason: string }
  );

interface Block {
  readonly language: string;
  /** What follows the language on the line of the fence. */
  readonly info: string;
  /** The line of the first line inside; 1 is the file's first. */
  readonly line: number;
  readonly lines: readonly string[];
}

const shells = ["bash", "shell", "console", "zsh"];
const noRun = "no-run:";

function blocksOf(markdown: string): Block[] {
  const blocks: Block[] = [];
  let open: { language: string; info: string; line: number; lines: string[] } | undefined;
  markdown.split("\n").forEach((text, at) => {
    const fence = /^\s*```\s*(\S*)\s*(.*)$/.exec(text);
    if (fence === null) open?.lines.push(text);
    else if (open === undefined) open = { language: fence[1]!, info: fence[2]!.trim(), line: at + 2, lines: [] };
    else {
      blocks.push(open);
      open = undefined;
    }
  });
  return blocks;
}

/** @throws Error for a block of commands that the test would not see, or an exemption without a reason */
export function stepsOf(markdown: string): Step[] {
  const steps: Step[] = [];
  let previous = "";
  for (const { language, info, line, lines } of blocksOf(markdown)) {
    if (shells.includes(language)) throw new Error(`line ${line}: a block of commands must be sh, not ${language}`);
    if (language === "sh" && info.startsWith(noRun)) {
      const reason = info.slice(noRun.length).trim();
      if (reason === "") throw new Error(`line ${line}: ${noRun} must be followed by the reason`);
      const commands = lines.map((text) => splitComment(text).command).filter((command) => command !== "");
      steps.push({ kind: "exemption", line, commands, reason });
    } else if (language === "sh") {
      if (info !== "") throw new Error(`line ${line}: after sh only "${noRun} reason" may stand: ${info}`);
      steps.push(...commandsOf(lines, line));
    } else if (language === "text" && previous === "sh") {
      steps.push({ kind: "logs", line, lines: lines.filter((text) => text.trim() !== "") });
    } else if ((language === "json" || language === "js") && info !== "") {
      steps.push({ kind: "file", line, name: info, text: lines.join("\n") });
    }
    previous = language;
  }
  return steps;
}

function commandsOf(lines: readonly string[], first: number): Step[] {
  const steps: Step[] = [];
  let terminal = "first";
  lines.forEach((text, at) => {
    const line = first + at;
    const { command, comment } = splitComment(text);
    const promise = /^-> (.+)$/.exec(comment)?.[1];
    const interrupt = /^Ctrl\+C in the (\w+) terminal/.exec(comment)?.[1];
    const named = /^(\w+) terminal\b/.exec(comment)?.[1];
    if (command !== "") steps.push({ kind: "command", line, command, terminal, ...(promise && { promise }) });
    else if (interrupt !== undefined) steps.push({ kind: "interrupt", line, terminal: interrupt });
    else if (named !== undefined) terminal = named;
  });
  return steps;
}

/** A line of shell without its comment, and the comment without its `#`. */
function splitComment(text: string): { command: string; comment: string } {
  let quote = "";
  for (let at = 0; at < text.length; at++) {
    const char = text[at]!;
    if (quote !== "") quote = char === quote ? "" : quote;
    else if (char === "'" || char === '"') quote = char;
    else if (char === "#" && (at === 0 || /\s/.test(text[at - 1]!))) {
      return { command: text.slice(0, at).trim(), comment: text.slice(at + 1).trim() };
    }
  }
  return { command: text.trim(), comment: "" };
}

/** Whether a text holds what a promise says, in which `…` stands for anything. */
export function keeps(text: string, promise: string): boolean {
  const parts = promise.split("…").map((part) => part.trim().replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
  return new RegExp(parts.join("[^]*?")).test(text);
}
