/**
 * Copies the manuals and the declarations of types of the packages that Millrace itself uses into `incoming/` of the folder that is named (default: this
 * one), the first 8,000 letters of each. One file is spoiled on purpose, as in any real folder.
 */
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "../..");
const incoming = join(process.argv[2] ?? here, "incoming");
const [least, most] = [2_000, 8_000];

/** The longest file whose name ends so, at most two folders deep. */
function longest(folder: string, ending: string): string | undefined {
  const files: { path: string; size: number }[] = [];
  const visit = (inside: string, depth: number): void => {
    for (const entry of readdirSync(inside, { withFileTypes: true })) {
      const path = join(inside, entry.name);
      if (entry.isDirectory() && depth < 2 && entry.name !== "node_modules") visit(path, depth + 1);
      else if (entry.isFile() && entry.name.toLowerCase().endsWith(ending))
        files.push({ path, size: statSync(path).size });
    }
  };
  visit(folder, 0);
  const [first] = files.toSorted((one, other) => other.size - one.size || (one.path < other.path ? -1 : 1));
  return first !== undefined && first.size >= least ? first.path : undefined;
}

mkdirSync(incoming, { recursive: true });
const { dependencies, devDependencies } = JSON.parse(readFileSync(join(root, "package.json"), "utf8")) as Record<
  "dependencies" | "devDependencies",
  Record<string, string>
>;
let count = 0;
for (const name of Object.keys({ ...dependencies, ...devDependencies })) {
  const folder = join(root, "node_modules", name);
  const [manual, types] = [longest(folder, "readme.md"), longest(folder, ".d.ts")];
  if (manual === undefined || types === undefined) continue;
  const [publisher, rest = "main"] = name.replace("@", "").split("/");
  for (const [path, ending] of [
    [manual, "md"],
    [types, "d.ts"],
  ] as const) {
    const text = readFileSync(path, "utf8").slice(0, most);
    writeFileSync(join(incoming, `${publisher}.${rest}.${ending}`), text.slice(0, text.lastIndexOf("\n") + 1));
    count++;
  }
}
writeFileSync(join(incoming, "scan.main.md"), Buffer.from("89504e470d0a1a0a0000000d49484452", "hex"));
console.log(`${count} documents and 1 doubtful file in ${incoming}`);
