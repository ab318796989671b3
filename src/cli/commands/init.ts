import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { MillraceError } from "../../core/index.ts";
import { configNames } from "../../config/locate.ts";
import type { Context, GlobalFlags } from "../context.ts";
import { schemaFile } from "../package.ts";
import { sampleConfig, sampleOrders } from "../sample.ts";

const ignored = ["lake/"];

export default async function init(this: Context, flags: GlobalFlags, folder = "."): Promise<void> {
  const target = resolve(folder);
  const existing = configNames.find((name) => existsSync(join(target, name)));
  if (existing !== undefined) {
    throw new MillraceError("usage", `there is a \`${existing}\` in \`${folder}\` already`, {
      hint: "edit it, or name another folder: millrace init my-lake",
      where: { file: join(target, existing) },
    });
  }
  await mkdir(join(target, "data"), { recursive: true });
  await mkdir(join(target, ".millrace"), { recursive: true });
  const written: string[] = [];
  // `wx`: what a person made is never written over.
  const add = async (name: string, content: string): Promise<void> => {
    try {
      await writeFile(join(target, name), content, { flag: "wx" });
      written.push(name);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  };
  await copyFile(schemaFile, join(target, ".millrace", "schema.json"));
  await add("data/orders.csv", sampleOrders());
  await ignore(target, add, written);
  await add("millrace.yaml", sampleConfig);
  if (flags.json) {
    this.output.json({ folder: target, files: written });
    return;
  }
  this.output.print(`made ${written.join(", ")} in ${target}`);
  if (!flags.quiet) {
    const change = target === process.cwd() ? "" : `cd ${folder} && `;
    this.output.note(`next: ${change}millrace run orders`);
  }
}

/** Adds what must not be committed to `.gitignore`, and leaves the rest of it as it is. */
async function ignore(
  target: string,
  add: (name: string, content: string) => Promise<void>,
  written: string[],
): Promise<void> {
  const path = join(target, ".gitignore");
  if (!existsSync(path)) {
    await add(".gitignore", `${ignored.join("\n")}\n`);
    return;
  }
  const text = await readFile(path, "utf8");
  const missing = ignored.filter((line) => !text.split(/\r?\n/).includes(line));
  if (missing.length === 0) return;
  await writeFile(path, `${text.replace(/\n?$/, "\n")}${missing.join("\n")}\n`);
  written.push(".gitignore");
}
