import { MillraceError, asMillraceError, messageOf, systemCode } from "../../core/index.ts";

/** Folder below the root for files that are being written. Listings leave it out. */
export const temporaryFolder = ".millrace-tmp";

/** Throws `usage` unless the path is relative, normal and free of anything that could leave the root. */
export function assertStorePath(path: string): void {
  const parts = path.split("/");
  const bad =
    path === "" ||
    path.includes("\0") ||
    path.includes("\\") ||
    parts.some((part) => part === "" || part === "." || part === "..") ||
    parts[0] === temporaryFolder;
  if (bad) {
    throw new MillraceError("usage", `\`${path.replaceAll("\0", "\\0")}\` is not a path inside a store`, {
      hint: "a path is relative, uses `/`, and has no empty part, `.`, `..`, backslash or NUL",
    });
  }
}

/** Errors of the file system in Millrace's codes. */
export function fileError(error: unknown, path: string, action: string): MillraceError {
  if (error instanceof MillraceError) return error;
  const where = { store: "fs", file: path };
  const details = { where, cause: error };
  switch (systemCode(error)) {
    case "ENOENT":
    case "ENOTDIR":
      return new MillraceError("not-found", `\`${path}\` does not exist`, details);
    case "EACCES":
    case "EPERM":
      return new MillraceError("permission", `the system does not let us ${action} \`${path}\``, {
        ...details,
        hint: "run as a user who may, or change the owner or mode of the folder",
      });
    case "EROFS":
      return new MillraceError("permission", `\`${path}\` lies on a file system that is mounted read-only`, {
        ...details,
        hint: "remount it writable or point the store to another folder",
      });
    case "ELOOP":
      return new MillraceError("permission", `\`${path}\` is a symbolic link, which a store does not follow`, details);
    case "ENAMETOOLONG":
      return new MillraceError(
        "limit",
        `the name \`${path.slice(0, 80)}…\` is longer than the file system allows`,
        details,
      );
    case "EMFILE":
    case "ENFILE":
      return new MillraceError("limit", `too many files are open to ${action} \`${path}\``, {
        ...details,
        temporary: true,
        hint: "raise `ulimit -n`",
      });
    case "EISDIR":
      return new MillraceError("usage", `\`${path}\` is a folder`, details);
    case "ENOSPC":
    case "EDQUOT":
      return asMillraceError(error, where);
    default:
      return new MillraceError("unreachable", `cannot ${action} \`${path}\`: ${messageOf(error)}`, {
        ...details,
        temporary: true,
      });
  }
}
