/**
 * Writes the option tables of lib/config/README.md from the option table of the code: `bun run tests/readme/options.ts`.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { optionTableMarkdown } from "../../lib/config/parse.ts";
import { root } from "../support/source.ts";
import { exchanged } from "./markers.ts";

const path = `${root}lib/config/README.md`;
writeFileSync(path, exchanged(readFileSync(path, "utf8"), "options", optionTableMarkdown()));
