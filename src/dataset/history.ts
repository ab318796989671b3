import { MillraceError, suggestion } from "../core/index.ts";
import type { Version } from "./dataset.ts";
import { type TableMetadata, currentSnapshot, lineageOf, property } from "./iceberg/metadata.ts";
import type { Table } from "./table.ts";

const tagName = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}$/;

/** See `Dataset.version`. */
export function findVersion(table: Table, reference: string | number | undefined): Version {
  const versions = table.versions();
  const where = { dataset: table.name };
  if (reference === undefined) {
    const current = currentSnapshot(table.metadata);
    const version = versions.find((one) => current && one.snapshotId === BigInt(current["snapshot-id"]));
    if (version) return version;
    throw new MillraceError("not-found", `\`${table.name}\` has no version yet`, {
      where,
      hint: "run a flow that writes it",
    });
  }
  const text = String(reference);
  const found = /^\d+$/.test(text)
    ? versions.findLast((version) => version.number === Number(text))
    : versions.find((version) => version.tags.includes(text));
  if (found) return found;
  const tags = versions.flatMap((version) => version.tags);
  const numbers = versions.map((version) => version.number);
  const range = numbers.length === 0 ? "there is none yet" : `there are versions ${numbers[0]} to ${numbers.at(-1)}`;
  throw new MillraceError("not-found", `\`${table.name}\` has no version \`${text}\``, {
    where,
    hint: /^\d+$/.test(text) ? range : `${range}; of tags ${suggestion(text, tags)}`,
  });
}

/** A tag names one version for ever: naming another one is an error, the same one again is not. */
export async function tag(table: Table, name: string, version: Version): Promise<void> {
  if (!tagName.test(name) || /^\d+$/.test(name) || name === "main") {
    throw new MillraceError("usage", `\`${name}\` cannot be a tag`, {
      hint: "a tag has letters, digits, `_`, `-` and `.`, is no number, and is not `main`",
      where: { dataset: table.name },
    });
  }
  await table.update(async (metadata) => {
    const id = table.snapshotOf(version)!["snapshot-id"];
    const present = metadata.refs[name];
    if (present?.["snapshot-id"] === id) return undefined;
    if (present !== undefined) {
      const holder = metadata.snapshots.find((snapshot) => snapshot["snapshot-id"] === present["snapshot-id"]);
      throw new MillraceError(
        "already-exists",
        `the tag \`${name}\` of \`${table.name}\` names version ${holder?.["sequence-number"] ?? "that has expired"}`,
        { hint: "remove the tag first, or choose another name", where: { dataset: table.name } },
      );
    }
    return { ...metadata, refs: { ...metadata.refs, [name]: { "snapshot-id": id, type: "tag" } } };
  });
}

export async function untag(table: Table, name: string): Promise<void> {
  await table.update(async (metadata) => {
    const tags = Object.keys(metadata.refs).filter((key) => metadata.refs[key]!.type === "tag");
    if (!tags.includes(name)) {
      throw new MillraceError("not-found", `\`${table.name}\` has no tag \`${name}\``, {
        hint: suggestion(name, tags),
        where: { dataset: table.name },
      });
    }
    const { [name]: _, ...refs } = metadata.refs;
    return { ...metadata, refs };
  });
}

/** See `Dataset.rollback`. The schema becomes that of the version; ids of columns are never used again. */
export async function rollback(table: Table, version: Version): Promise<void> {
  await table.update(async (metadata) => {
    const snapshot = table.snapshotOf(version)!;
    const id = snapshot["snapshot-id"];
    if (metadata["current-snapshot-id"] === id) return undefined;
    const moved: TableMetadata = {
      ...metadata,
      "current-snapshot-id": id,
      "current-schema-id": snapshot["schema-id"] ?? metadata["current-schema-id"],
      refs: { ...metadata.refs, main: { "snapshot-id": id, type: "branch" } },
      "snapshot-log": [
        ...metadata["snapshot-log"],
        { "timestamp-ms": Math.max(Date.now(), metadata["last-updated-ms"]), "snapshot-id": id },
      ],
    };
    const before = lineageOf(metadata);
    const after = lineageOf(moved);
    const left = new Set((metadata.properties[property.leftBehind] ?? "").split(",").filter((text) => text !== ""));
    for (const one of before) if (!after.has(one)) left.add(String(one["snapshot-id"]));
    for (const one of after) left.delete(String(one["snapshot-id"]));
    return { ...moved, properties: { ...metadata.properties, [property.leftBehind]: [...left].join(",") } };
  });
}

/** See `Dataset.expire`. Throws `conflict` for the current version and for tagged ones. */
export async function expire(table: Table, versions: readonly Version[]): Promise<void> {
  if (versions.length === 0) return;
  const wanted = new Set(versions.map((version) => version.snapshotId));
  await table.update(async (metadata) => {
    for (const [name, reference] of Object.entries(metadata.refs)) {
      if (!wanted.has(BigInt(reference["snapshot-id"]))) continue;
      const version = versions.find((one) => one.snapshotId === BigInt(reference["snapshot-id"]))!;
      throw new MillraceError(
        "conflict",
        name === "main"
          ? `version ${version.number} is the current one of \`${table.name}\` and cannot expire`
          : `version ${version.number} of \`${table.name}\` has the tag \`${name}\` and cannot expire`,
        {
          hint: name === "main" ? "roll back to another version first" : "remove the tag first",
          where: { dataset: table.name },
        },
      );
    }
    const snapshots = metadata.snapshots.filter((snapshot) => !wanted.has(BigInt(snapshot["snapshot-id"])));
    if (snapshots.length === metadata.snapshots.length) return undefined;
    const kept = new Set(snapshots.map((snapshot) => snapshot["snapshot-id"]));
    const left = (metadata.properties[property.leftBehind] ?? "").split(",");
    return {
      ...metadata,
      snapshots,
      "snapshot-log": metadata["snapshot-log"].filter((entry) => kept.has(entry["snapshot-id"])),
      properties: {
        ...metadata.properties,
        [property.leftBehind]: left
          .filter((id) => snapshots.some((one) => String(one["snapshot-id"]) === id))
          .join(","),
      },
    };
  });
}
