import { MillraceError, suggestion, type CursorValue, type Format, type FormatDefinition } from "../../core/index.ts";

/** The formats that files can have. Modules load on first use. */
const formats: Record<string, () => Promise<{ default: FormatDefinition }>> = {
  csv: async () => (await import("../../formats/csv/index.ts")) as { default: FormatDefinition },
  tsv: async () => (await import("../../formats/tsv/index.ts")) as { default: FormatDefinition },
  json: async () => (await import("../../formats/json/index.ts")) as { default: FormatDefinition },
  ndjson: async () => (await import("../../formats/ndjson/index.ts")) as { default: FormatDefinition },
  parquet: async () => (await import("../../formats/parquet/index.ts")) as { default: FormatDefinition },
  arrow: async () => (await import("../../formats/arrow/index.ts")) as unknown as { default: FormatDefinition },
  avro: async () => (await import("../../formats/avro/index.ts")) as unknown as { default: FormatDefinition },
  excel: async () => (await import("../../formats/excel/index.ts")) as unknown as { default: FormatDefinition },
  audio: async () => (await import("../../formats/audio/index.ts")) as unknown as { default: FormatDefinition },
  labels: async () => (await import("../../formats/labels/index.ts")) as unknown as { default: FormatDefinition },
  nifti: async () => (await import("../../formats/nifti/index.ts")) as unknown as { default: FormatDefinition },
  video: async () => (await import("../../formats/video/index.ts")) as unknown as { default: FormatDefinition },
  chat: async () => (await import("../../formats/chat/index.ts")) as unknown as { default: FormatDefinition },
  dicom: async () => (await import("../../formats/dicom/index.ts")) as unknown as { default: FormatDefinition },
  documents: async () => (await import("../../formats/documents/index.ts")) as unknown as { default: FormatDefinition },
  geotiff: async () => (await import("../../formats/geotiff/index.ts")) as unknown as { default: FormatDefinition },
  images: async () => (await import("../../formats/images/index.ts")) as unknown as { default: FormatDefinition },
};

/** Formats whose files are assets. They are never guessed. */
export function isAssets(format: string | undefined): boolean {
  return format !== undefined && assetFormats.has(format);
}

const assetFormats = new Set(["audio", "chat", "dicom", "documents", "geotiff", "images", "labels", "nifti", "video"]);

export type FormatOptions = { [key: string]: CursorValue };

export interface OpenedFormat {
  name: string;
  format: Format;
  /** As the format's schema gives them back. */
  options: FormatOptions;
}

/** Text whose types are inferred, so that the first files fix them. */
export function isText(format: string): boolean {
  return ["csv", "tsv", "json", "ndjson", "excel"].includes(format);
}

/** Formats whose records are lines, so that a file can be read on from where it ended. */
export function isLines(format: string): boolean {
  return ["csv", "tsv", "ndjson"].includes(format);
}

/** Throws `config` for an unknown format or option. */
export async function openFormat(name: string, options: FormatOptions): Promise<OpenedFormat> {
  const load = Object.hasOwn(formats, name) ? formats[name] : undefined;
  if (load === undefined) {
    throw new MillraceError("config", `there is no format \`${name}\``, {
      hint: suggestion(name, Object.keys(formats)),
    });
  }
  const { default: definition } = await load();
  const result = definition.options.safeParse(options);
  if (!result.success) {
    const known = Object.keys((definition.options as unknown as { shape?: object }).shape ?? {});
    const problems = result.error.issues.map((issue) =>
      issue.code === "unrecognized_keys"
        ? issue.keys
            .map((key) => `\`${key}\` is not an option of the format \`${name}\`; ${suggestion(key, known)}`)
            .join("; ")
        : `\`options.${issue.path.join(".")}\`: ${issue.message}`,
    );
    throw new MillraceError("config", problems.join("; "), {
      hint: `\`millrace describe format ${name}\` lists the options`,
    });
  }
  const driver = await definition.load();
  return { name, format: driver.open(result.data), options };
}
