/** `completions`: scripts for shells, made from the command table. */
import { commands, type CommandText, SERVE } from "../../config/command-line/commands.ts";
import { options } from "../../config/options.ts";

/** The name to complete: the operator's alias for `bun run …/main.ts`. */
const PROGRAM = "muster";

interface Flag {
  readonly flag: string;
  readonly description: string;
  readonly isTaking: boolean;
}

const flagOf = ({ flag, description, value }: { flag: string; description: string; value: string }): Flag => ({
  flag,
  description,
  isTaking: value !== "",
});

/** The options of a command, including those of `serve` if it takes them. */
function flagsOf(command: CommandText): Flag[] {
  const own = Object.values(command.options).map(flagOf);
  const help = { flag: "help", description: "Print this and exit", isTaking: false };
  return [...own, ...(command.takesServe ? Object.values(options).map(flagOf) : []), help];
}

const all: readonly CommandText[] = Object.values(commands);

/** The script for a shell; `undefined`: the shell is not supported. */
export function completions(shell: string): string | undefined {
  return shell === "bash" ? bash() : shell === "zsh" ? zsh() : shell === "fish" ? fish() : undefined;
}

function bash(): string {
  const cases = all.map((command) =>
    `    "${command.words}") words="${flagsOf(command).map(({ flag }) => `--${flag}`).join(" ")}" ;;`
  );
  return `# bash completion for ${PROGRAM}: source <(${PROGRAM} completions bash)
_${PROGRAM}() {
  local word="\${COMP_WORDS[COMP_CWORD]}" command="\${COMP_WORDS[1]}" words
  [ "$command" = config ] && command="config \${COMP_WORDS[2]}"
  case "$command" in
${cases.join("\n")}
    *) words="${flagsOf(commands[SERVE]).map(({ flag }) => `--${flag}`).join(" ")}" ;;
  esac
  [ "$COMP_CWORD" = 1 ] && words="$words ${firstWords().join(" ")}"
  [ "$COMP_CWORD" = 2 ] && [ "\${COMP_WORDS[1]}" = config ] && words="check"
  [ "$COMP_CWORD" = 2 ] && [ "\${COMP_WORDS[1]}" = completions ] && words="bash zsh fish"
  COMPREPLY=($(compgen -W "$words" -- "$word"))
}
complete -o default -F _${PROGRAM} ${PROGRAM}
`;
}

function zsh(): string {
  const words = all.map(({ words, description }) => `    '${words.split(" ")[0]}:${zshText(description)}'`);
  const cases = all.map((command) => {
    const flags = flagsOf(command).map(({ flag, description, isTaking }) =>
      `'--${flag}[${zshText(description)}]${isTaking ? `:${flag}:_files` : ""}'`
    );
    return `    ${command.words.split(" ")[0]}) _arguments -s ${flags.join(" ")} '*: :_files' ;;`;
  });
  return `#compdef ${PROGRAM}
# zsh completion for ${PROGRAM}: ${PROGRAM} completions zsh > "\${fpath[1]}/_${PROGRAM}"
_${PROGRAM}() {
  local -a names
  names=(
${words.join("\n")}
  )
  if (( CURRENT == 2 )) && [[ "$words[2]" != -* ]]; then
    _describe command names
    return
  fi
  case "$words[2]" in
${cases.join("\n")}
    *) _arguments ${
    flagsOf(commands[SERVE]).map(({ flag, isTaking }) => `'--${flag}${isTaking ? `:${flag}:_files` : ""}'`).join(" ")
  } ;;
  esac
}
if [ "$funcstack[1]" = "_${PROGRAM}" ]; then _${PROGRAM} "$@"; else compdef _${PROGRAM} ${PROGRAM}; fi
`;
}

function fish(): string {
  const names = all.map(({ words, description }) => {
    const [word] = words.split(" ");
    return `complete -c ${PROGRAM} -n __fish_use_subcommand -a ${word} -d '${fishText(description)}'`;
  });
  const flags = all.flatMap((command) => {
    const [word] = command.words.split(" ");
    const condition = command.words === SERVE
      ? `"__fish_use_subcommand; or __fish_seen_subcommand_from ${word}"`
      : `"__fish_seen_subcommand_from ${word}"`;
    return flagsOf(command).map(({ flag, description, isTaking }) =>
      `complete -c ${PROGRAM} -n ${condition} -l ${flag}${isTaking ? " -r" : ""} -d '${fishText(description)}'`
    );
  });
  return [`# fish completion for ${PROGRAM}: ${PROGRAM} completions fish | source`, ...names, ...flags].join("\n") +
    "\n";
}

function firstWords(): string[] {
  return all.map(({ words }) => words.split(" ")[0]!);
}

/** Escapes a text for zsh: it stands in single quotes, inside brackets and before a colon. */
function zshText(text: string): string {
  return text.replaceAll("'", "'\\''").replace(/[[\]:]/g, "\\$&");
}

function fishText(text: string): string {
  return text.replace(/['\\]/g, "\\$&");
}
