import { dirname, join, posix } from "node:path";
import {
  forEachLimited,
  MillraceError,
  throwIfAborted,
  type Column,
  type CursorValue,
  type FileRef,
  type Payload,
  type Plan,
  type ReadRequest,
  type Source,
  type SourceContext,
  type StreamInfo,
} from "../../core/index.ts";
import { findPrograms } from "../../sandbox/index.ts";
import { newsOf, type News } from "./changes.ts";
import { chooseColumns, mergeColumns } from "./columns.ts";
import { convertFile, tellingPayload } from "./convert.ts";
import { detect, formatOfName, readHead } from "./detect.ts";
import { readAssets } from "./assets.ts";
import { isAssets, isLines, openFormat, type FormatOptions } from "./formats.ts";
import { Position } from "./identity.ts";
import type { FilesOptions } from "./index.ts";
import { readablesOf, type Readable } from "./members.ts";
import { tellApart, tellingParts, unreadableError } from "./left-out.ts";
import { packedOf, verifyPacked, type Packed } from "./packed.ts";
import { openPlace, type Found } from "./places.ts";
import { ownScratch } from "./scratch.ts";
import { partsOf, poisonPart, unchanged, type PartSpec } from "./parts.ts";
import { fileRef, lookInto } from "./shapes.ts";

export async function open(options: FilesOptions, context: SourceContext): Promise<Source> {
  const { engine } = context;
  const place = await openPlace(options, context);
  const { patterns } = place;
  const scratch = context.scratch === undefined ? ownScratch() : join(context.scratch, "files");
  const reading = { place, options, scratch, engine };

  /** The paths that a request means: those configured, or a stream below the one folder that is. */
  const patternsOf = (request: ReadRequest): readonly string[] => {
    if (request.query !== undefined) {
      throw new MillraceError("unsupported", "files have no query language of their own", {
        hint: "use `transform` to select from them",
      });
    }
    if (request.stream === undefined) return patterns;
    if (patterns.includes(request.stream)) return [request.stream];
    const [root] = patterns;
    if (patterns.length > 1) {
      throw new MillraceError(
        "config",
        `\`stream: ${request.stream}\` needs one \`path\` to start from, but there are ${patterns.length}`,
        {
          where: { connection: context.connection, stream: request.stream },
          hint: "leave `stream` out to read all paths",
        },
      );
    }
    const target = place.below(root!, request.stream);
    if (target === undefined) {
      throw new MillraceError("permission", `\`${request.stream}\` leads out of \`${root}\``, {
        where: { connection: context.connection, stream: request.stream },
        hint: "a stream is a glob below the path of its connection",
      });
    }
    return [target];
  };

  const declaredOf = (request: ReadRequest): { format?: string; encoding?: string; options: FormatOptions } => {
    const formatOptions = { ...options.options, ...request.options } as FormatOptions;
    return {
      ...(options.format === undefined ? {} : { format: options.format }),
      ...(typeof formatOptions.encoding === "string" ? { encoding: formatOptions.encoding } : {}),
      options: formatOptions,
    };
  };

  const kindOf = async (file: Found): Promise<"lines" | "archive" | "other"> => {
    await using bytes = await place.open(file);
    const nature = detect(file.name, await readHead(bytes));
    if (nature.container === "zip") return "archive";
    const plain = nature.container === "none" && (nature.encoding ?? "utf-8") === "utf-8";
    return plain && isLines(options.format ?? nature.format ?? "") ? "lines" : "other";
  };

  const readables = async (
    news: readonly News[],
    request: ReadRequest,
    position: Position,
    signal: AbortSignal | undefined,
  ): Promise<Readable[]> => {
    const result: Readable[] = [];
    for (const file of news) {
      throwIfAborted(signal);
      if (file.size === 0) {
        if (!isAssets(options.format)) {
          refuseEmpty(file, options.format);
          continue;
        }
      }
      for (const readable of await readablesOf(file, reading, declaredOf(request), signal)) {
        if (file.from !== undefined) {
          result.push({ ...readable, wrapping: { ...readable.wrapping, from: file.from, to: file.to! } });
          continue;
        }
        if (readable.wrapping.member === undefined) result.push(readable);
        else if (isNewMember(readable, position, options.changed)) result.push(readable);
      }
    }
    return result;
  };

  return {
    async check(signal) {
      await place.check(signal);
    },

    async *streams(signal): AsyncGenerator<StreamInfo> {
      const groups = new Map<string, Found[]>();
      for (const file of await place.list(patterns, signal)) {
        if (file.unreadable !== undefined) continue;
        const suffix = /(\.[A-Za-z0-9]+)?(\.(gz|zst|bz2|zip))?$/i.exec(file.path)?.[0] ?? "";
        const folder = posix.join(dirname(place.streamName(file)), `*${suffix}`);
        const key = place.stream ?? (patterns.includes(file.name) ? file.name : folder);
        groups.set(key, [...(groups.get(key) ?? []), file]);
      }
      for (const [name, files] of groups) {
        const sample = files.slice(0, 3).map((file): News => ({ ...file, etag: "" }));
        let columns: Column[] = [];
        try {
          const request: ReadRequest = {};
          const looked = await lookInto(
            await readables(sample, request, new Position(undefined), signal),
            declaredOf(request).options,
            reading,
            signal,
          );
          columns = await mergeColumns(looked.columns, []);
        } catch (error) {
          // One file that cannot be read must not hide the other streams; reading it says what is wrong.
          if (signal?.aborted) throw error;
        }
        yield {
          name,
          columns,
          key: [],
          cursors: [],
          bytes: files.reduce((sum, file) => sum + file.size, 0),
          kind: "files",
        };
      }
    },

    async plan(request, { after, signal }): Promise<Plan> {
      const position = new Position(after);
      if (options.format !== undefined) {
        // Said once before anything is read, not of each file.
        const { format } = await openFormat(options.format, declaredOf(request).options);
        findPrograms(format.converter?.programs ?? []);
      }
      const known = (position.columns ?? []) as unknown as Column[];
      const looked: (News | undefined)[] = [];
      const { files, told } = tellApart(await place.list(patternsOf(request), signal), position);
      await forEachLimited(files, place.looks, async (file, index) => {
        throwIfAborted(signal);
        await place.assertReadable(file);
        looked[index] = await newsOf(file, position, options.changed, place.open, kindOf);
      });
      const news = looked.filter((file) => file !== undefined);
      const items = await readables(news, request, position, signal);
      const { shapes, columns: found, poison } = await lookInto(items, declaredOf(request).options, reading, signal);
      const all = await mergeColumns(found, known);
      position.columns = all as unknown as CursorValue;
      const columns = chooseColumns(all, items.length === 0 && all.length === 0 ? undefined : request.columns);
      // Without another file there is no batch that goes on.
      const [unread] = [...poison.map(({ error }) => error), ...told.map(unreadableError)];
      if (unread !== undefined && columns.length === 0) throw unread;
      const parts = [
        ...shapes.flatMap((shape) => partsOf(shape, columns, request.partBytes ?? options.part_bytes)),
        ...poison.map(({ readable, error }) => poisonPart(readable, columns, error.message)),
        ...tellingParts(told, columns),
      ];
      return {
        columns,
        key: [],
        parts: parts.map((part, index) => ({ ...part, id: `files-${String(index + 1).padStart(5, "0")}` })),
        cursor: position.toCursor(),
      };
    },

    async read(part, _request, { signal, keep }): Promise<Payload> {
      const spec = part.spec as unknown as PartSpec;
      if (spec.poison !== undefined) return tellingPayload([[spec.files[0]!.name, spec.poison]], spec.columns);
      if (spec.told !== undefined) return tellingPayload(spec.told, spec.columns);
      const { format } = await openFormat(spec.format, spec.options);
      if (format.converter?.columns !== undefined) {
        return readAssets(format.converter, spec, reading, {
          ...(signal ? { signal } : {}),
          ...(keep ? { keep } : {}),
        });
      }
      const files: FileRef[] = [];
      const packed: Packed[] = [];
      const held: (() => Promise<void>)[] = [];
      const release = async (): Promise<void> => {
        for (const one of held.splice(0)) await one();
      };
      try {
        for (const file of spec.files) {
          throwIfAborted(signal);
          const wrapping = await unchanged(file, isLines(spec.format), place);
          const ready = await fileRef({ ...file, wrapping, format: spec.format }, reading, signal);
          files.push(ready.file);
          held.push(ready.release);
          const one = packedOf(ready.file, spec.format, wrapping);
          if (one !== undefined) packed.push(one);
        }
        if (format.converter === undefined) {
          return {
            form: "files",
            format: spec.format,
            files,
            options: spec.options,
            columns: spec.columns,
            ...(packed.length === 0 ? {} : { verify: (stop) => verifyPacked(packed, options, stop) }),
            release,
          };
        }
        const payload = await convertFile(format.converter, files[0]!, spec.options, spec.columns, options, signal);
        return payload.form === "bytes" ? { ...payload, release } : payload;
      } catch (error) {
        await release();
        throw error;
      }
    },

    [Symbol.asyncDispose]: () => place[Symbol.asyncDispose](),
  };
}

/** Text without records may be empty. Any other file of no bytes was cut off. */
function refuseEmpty(file: Found, declared: string | undefined): void {
  const format = declared ?? formatOfName(file.name);
  if (format === undefined || isLines(format)) return;
  throw new MillraceError("parse", `\`${file.name}\` is empty, which no ${format} file is`, {
    where: { file: file.name },
    hint: "the file was not written to its end; write it again or remove it",
  });
}

function isNewMember(member: Readable, position: Position, changed: FilesOptions["changed"]): boolean {
  const seen = position.get(member.name);
  if (seen?.etag === member.etag) return false;
  if (seen !== undefined && changed === "fail") {
    throw new MillraceError("conflict", `\`${member.name}\` was read before and has changed since`, {
      where: { file: member.name },
      hint: "set `mode: replace`, or `changed: reread` with `mode: merge` and a `key`, or `changed: ignore` to keep what was read",
    });
  }
  position.set(member.name, { size: member.size, modified: member.modified, etag: member.etag });
  return seen === undefined || changed === "reread";
}
