import type { Exposition } from "./exposition.ts";

/** The metrics as a table in Markdown, in the order of the answer. Each must have a sample, which tells its labels. */
export function metricsMarkdown({ types, helps, samples }: Exposition): string {
  const rows = [...types].map(([name, type]) => {
    const isOfIt = (key: string) =>
      type === "histogram" ? key.startsWith(`${name}_count{`) : key.startsWith(`${name}{`);
    const key = [...samples.keys()].find(isOfIt);
    if (key === undefined) throw new Error(`no sample of ${name}`);
    const labels = [...key.matchAll(/[{,](\w+)="/g)].map(([, label]) => `\`${label}\``);
    return `| \`${name}\` | ${type} | ${labels.join(", ")} | ${helps.get(name)} |`;
  });
  return ["| metric | type | labels | meaning |", "| --- | --- | --- | --- |", ...rows, ""].join("\n");
}
