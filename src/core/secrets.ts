import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { MillraceError } from "./errors.ts";

/** Values that must never be shown. Shorter ones are left out: redacting `a` would make every text unreadable. */
const known = new Set<string>();
const minimumLength = 4;

/** From now on the value is replaced wherever `redact` is applied: as it is, and as URLs, JSON and base64 would show it. */
export function registerSecret(value: string): void {
  if (value.length < minimumLength) return;
  known.add(value);
  known.add(encodeURIComponent(value));
  known.add(JSON.stringify(value).slice(1, -1));
  known.add(Buffer.from(value).toString("base64"));
  known.add(Buffer.from(value).toString("base64url"));
  try {
    const url = new URL(value);
    if (url.password !== "") {
      registerSecret(decodeURIComponent(url.password));
      known.add(url.password);
    }
  } catch {
    // Not a URL: the value itself is all there is to hide.
  }
}

/** `text` without any registered secret, and without `user:password@` in anything that looks like a URL. */
export function redact(text: string): string {
  let result = text;
  for (const secret of [...known].sort((left, right) => right.length - left.length)) {
    if (result.includes(secret)) result = result.replaceAll(secret, "•••");
  }
  return result.replaceAll(/([a-z][a-z0-9+.-]*:\/\/[^\s:/@]*):[^\s@/]+@/gi, "$1:•••@");
}

/** For tests. */
export function forgetSecrets(): void {
  known.clear();
}

const reference = /\$\{([a-z-]+):([^}]*)\}/g;

/**
 * Replaces `${env:NAME}` and `${file:path}` in a string; whatever they yield is registered as secret.
 * Relative paths are taken from `folder`. Throws `config` when a reference cannot be resolved.
 */
export async function resolveReferences(text: string, folder: string): Promise<string> {
  let result = "";
  let end = 0;
  for (const match of text.matchAll(reference)) {
    const value = await resolveReference(match[1]!, match[2]!, folder);
    registerSecret(value);
    result += text.slice(end, match.index) + value;
    end = match.index + match[0].length;
  }
  result += text.slice(end);
  if (end > 0) registerSecret(result);
  return result;
}

async function resolveReference(scheme: string, name: string, folder: string): Promise<string> {
  if (scheme === "env") {
    const value = process.env[name];
    if (value !== undefined) return value;
    throw new MillraceError("config", `the environment variable \`${name}\` is not set`, {
      hint: `export ${name}=… and run again`,
    });
  }
  if (scheme === "file") {
    try {
      return (await readFile(resolve(folder, name), "utf8")).replace(/\r?\n$/, "");
    } catch (cause) {
      throw new MillraceError("config", `the secret file \`${name}\` cannot be read`, {
        cause,
        hint: "the path is taken from the folder of the configuration file",
      });
    }
  }
  throw new MillraceError("config", `\`\${${scheme}:…}\` is not a kind of reference`, {
    hint: "use ${env:NAME} or ${file:path}",
  });
}
