import { randomUUID } from "node:crypto";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  isMillraceError,
  MillraceError,
  suggestion,
  throwIfAborted,
  type Column,
  type Payload,
  type ReadRequest,
  type Source,
  type SourceContext,
} from "../../core/index.ts";
import definition, { dicomOptions, type DicomOptions } from "../../formats/dicom/index.ts";
import { assetRows } from "../assets/read.ts";
import { attributeOf, shownOf, type Shown } from "./attributes.ts";
import { chosenOf, searchStudies, type Chosen, type Searching } from "./chosen.ts";
import { streamOptions, type DicomwebOptions } from "./index.ts";
import { newGroups, partsOfGroups, rowsOfPart, tableParts, type PartSpec } from "./plan.ts";
import { Position } from "./position.ts";
import { comingScans } from "./scans.ts";
import { openService } from "./service.ts";
import { tablePayload } from "./tables.ts";

const streams = ["studies", "series", "instances", "scans"] as const;
type Stream = (typeof streams)[number];

/** Calls nobody before it is asked something. Throws `config`. */
export async function open(options: DicomwebOptions, context: SourceContext): Promise<Source> {
  const { connection } = context;
  const service = await openService(options, context.folder, connection);
  const changedBy = options.changed_by === undefined ? undefined : attributeOf(options.changed_by, "changed_by");
  const tables = {
    studies: shownOf("studies", options.attributes),
    series: shownOf("series", options.attributes),
    instances: shownOf("instances", options.attributes),
  };
  const include = options.attributes.map((name) => attributeOf(name, "attributes"));
  const all = chosenOf(options.query);
  const scratch = join(context.scratch ?? tmpdir(), `dicomweb-${randomUUID()}`);

  const searchingBy = (chosen: Chosen, stream: Stream): Searching => ({
    service,
    pageSize: options.page_size,
    include: stream === "scans" ? [] : include,
    chosen,
  });

  const streamOf = (request: ReadRequest): Stream => {
    if (request.query !== undefined) {
      throw new MillraceError("unsupported", "DICOMweb has no statements", {
        hint: "choose by attributes: `options: { query: { PatientID: … } }`",
      });
    }
    const found = streams.find((each) => each === request.stream);
    if (found !== undefined) return found;
    const where = { connection, ...(request.stream === undefined ? {} : { stream: request.stream }) };
    if (request.stream === undefined) {
      throw new MillraceError("config", "a flow from DICOMweb names a stream", {
        where,
        hint: "set `stream` to `scans`, `instances`, `series` or `studies`",
      });
    }
    throw new MillraceError("not-found", `there is no stream \`${request.stream}\``, {
      where,
      hint: suggestion(request.stream, streams),
    });
  };

  /** What a flow sets for itself. Throws `config`. */
  const settingsOf = (request: ReadRequest, stream: Stream): { chosen: Chosen; format: DicomOptions } => {
    const parsed = streamOptions.safeParse(request.options ?? {});
    if (!parsed.success) {
      const [issue] = parsed.error.issues;
      const unknown = issue!.code === "unrecognized_keys" ? issue!.keys[0] : undefined;
      const known = Object.keys(streamOptions.shape);
      throw new MillraceError("config", `\`options\` of the stream \`${stream}\`: ${issue!.message}`, {
        where: { connection, stream },
        hint: unknown === undefined ? "`millrace describe format dicom` lists the options" : suggestion(unknown, known),
      });
    }
    const { query, ...own } = request.options ?? {};
    const chosen = query === undefined ? all : chosenOf({ ...options.query, ...parsed.data.query });
    const format = dicomOptions.parse({ ...options.options, ...own });
    if (format.deidentify !== undefined && stream !== "scans") {
      throw new MillraceError("config", `\`${stream}\` would tell what \`deidentify\` removes`, {
        where: { connection, stream },
        hint: "read `scans`, whose `tags` are free of it, or use a connection without `deidentify`",
      });
    }
    return { chosen, format };
  };

  const formatOf = async (format: DicomOptions) => (await definition.load()).open(format).converter!;
  const columnsOf = async (stream: Stream): Promise<Column[]> =>
    stream === "scans"
      ? [...(await formatOf(options.options)).columns!]
      : tables[stream].map(({ column }: Shown) => column);
  /** Columns are all, or those that the flow names. */
  const wanted = (columns: readonly Column[], names: readonly string[] | undefined): Column[] => {
    if (names === undefined) return [...columns];
    return names.map((name) => {
      const found = columns.find((column) => column.name.toLowerCase() === name.toLowerCase());
      if (found !== undefined) return found;
      const known = columns.map((column) => column.name);
      throw new MillraceError("not-found", `there is no column \`${name}\``, {
        where: { connection, column: name },
        hint: suggestion(name, known),
      });
    });
  };
  const placed = async <Result>(stream: string, action: () => Promise<Result>): Promise<Result> => {
    try {
      return await action();
    } catch (error) {
      throw isMillraceError(error) ? error.at({ connection, stream }) : error;
    }
  };

  return {
    async check(signal) {
      throwIfAborted(signal);
      const searching = { ...searchingBy(all, "scans"), pageSize: 2 };
      for await (const match of searchStudies(searching, false, signal)) {
        void match;
        break;
      }
    },

    async *streams(signal) {
      throwIfAborted(signal);
      for (const stream of streams) {
        yield { name: stream, columns: await columnsOf(stream), key: [], cursors: [], kind: "endpoint" };
      }
    },

    plan: async (request, { after, signal }) => {
      throwIfAborted(signal);
      const stream = streamOf(request);
      return placed(stream, async () => {
        const { chosen, format } = settingsOf(request, stream);
        const columns = wanted(await columnsOf(stream), request.columns);
        const searching = searchingBy(chosen, stream);
        const spec: PartSpec = { stream, columns, chosen };
        const number = (parts: Awaited<ReturnType<typeof tableParts>>) =>
          parts.map((part, index) => ({ ...part, id: `${stream}-${String(index + 1).padStart(5, "0")}` }));
        if (stream === "studies" || stream === "series") {
          return { columns, key: [], parts: number(await tableParts(searching, spec, signal)) };
        }
        const position = new Position(after, format.deidentify?.key);
        const marked = { ...searching, include: changedBy === undefined ? [] : [changedBy] };
        const groups = await newGroups(marked, position, changedBy, signal);
        const most = stream === "scans" ? options.part_instances : rowsOfPart;
        return { columns, key: [], parts: number(partsOfGroups(groups, most, spec)), cursor: position.toCursor() };
      });
    },

    async read(part, request, { signal, keep }): Promise<Payload> {
      throwIfAborted(signal);
      const spec = part.spec as unknown as PartSpec;
      const { stream } = spec;
      const { format } = settingsOf(request, stream);
      const searching = searchingBy(spec.chosen, stream);
      if (stream !== "scans") return tablePayload(searching, spec, tables[stream], signal);
      const converter = await formatOf(format);
      const retrieving = { service, scratch, maximumBytes: options.max_instance_mb * 1024 ** 2, signal };
      const { unavailable } = options;
      const coming = comingScans(
        { retrieving, searching, unavailable, key: format.deidentify?.key },
        spec.groups ?? [],
      );
      return assetRows(coming, {
        converter,
        columns: spec.columns,
        formatOptions: format as unknown as Record<string, unknown>,
        assets: options.assets,
        limits: options,
        signal,
        keep,
      });
    },

    [Symbol.asyncDispose]: () => rm(scratch, { recursive: true, force: true }),
  };
}
