import { MillraceError } from "../../core/index.ts";

/** The longest key that S3 takes, in bytes of UTF-8. */
const maximumKeyBytes = 1024;

/** Name of the object that proves conditional creates. Listings are silent about it. */
export const probeName = ".millrace-probe";

/** What XML 1.0 cannot hold: a listing would give another name. */
// oxlint-disable-next-line no-control-regex
const unlisted = /[\u0001-\u0008\u000b\u000c\u000e-\u001f\ufffe\uffff]/;

export function isStorePath(path: string): boolean {
  return (
    path !== "" &&
    path !== probeName &&
    !/[\\\0]/.test(path) &&
    path.isWellFormed() &&
    path.split("/").every((part) => part !== "" && part !== "." && part !== "..")
  );
}

/** Why the object of a key cannot be read through a store; undefined when it can. */
export function whyNoPath(path: string): string | undefined {
  if (!isStorePath(path))
    return "has an empty part, `.`, `..` or a backslash in its key, which no path of a store may have";
  return unlisted.test(path) ? "has a control character in its key" : undefined;
}

/** The key of a path. Throws `usage` for what is no path inside of a store, `limit` for what is too long. */
export function keyOf(root: string, path: string): string {
  if (path !== probeName && !isStorePath(path)) {
    throw new MillraceError("usage", `\`${path.replaceAll("\0", "\\0")}\` is not a path inside a store`, {
      hint: "a path is relative, uses `/`, and has no empty part, `.`, `..`, backslash or NUL",
    });
  }
  if (unlisted.test(path)) {
    throw new MillraceError("unsupported", `the name ${JSON.stringify(path)} holds a control character`, {
      hint: "use a name without it: S3 answers in XML, which cannot hold it, and not every server encodes it",
      where: { store: "s3" },
    });
  }
  const key = root + path;
  if (Buffer.byteLength(key) > maximumKeyBytes) {
    throw new MillraceError("limit", `the name \`${path.slice(0, 80)}…\` is longer than the 1,024 bytes of S3`, {
      hint: "use a shorter name or a shorter prefix",
      where: { store: "s3" },
    });
  }
  return key;
}
