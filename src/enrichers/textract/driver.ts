import { DetectDocumentTextCommand, TextractClient, type Block } from "@aws-sdk/client-textract";
import {
  forEachLimited,
  isMillraceError,
  messageOf,
  sniffMediaType,
  throwIfAborted,
  type Column,
  type Enriched,
  type Enricher,
  type EnricherInput,
} from "../../core/index.ts";
import { findPrograms, runInSandbox } from "../../sandbox/index.ts";
import { awsClientOptions, awsError } from "../shared/aws.ts";
import { withFile } from "../shared/scratch.ts";
import type { TextractOptions } from "./index.ts";

/** Source when this runs from source, JavaScript when it runs from the build. */
const module = new URL(import.meta.url.endsWith(".ts") ? "../shared/draw.ts" : "../shared/draw.js", import.meta.url);

const service = "Amazon Textract";
const permissions = "textract:DetectDocumentText";
/** What the service takes within a request. */
const maximumBytes = 10 * 1024 ** 2;
const images = new Set(["image/jpeg", "image/png", "image/tiff"]);
/** What drawing one page may take. */
const drawing = { deadlineMs: 120_000, memoryBytes: 2 * 1024 ** 3 };
/** Errors that say something of one page. */
const ownFault = /^(UnsupportedDocumentException|DocumentTooLargeException|BadDocumentException)$/;

export async function open(options: TextractOptions): Promise<Enricher> {
  const { all, prefix, resolution } = options;
  const client = new TextractClient(await awsClientOptions(options));
  const columns: Column[] = [
    { name: `${prefix}text`, type: "string", doc: "Lines of the page, in the order of the service." },
    { name: `${prefix}confidence`, type: "double", doc: "How sure the service is of its words on average, 0 to 100." },
    { name: `${prefix}words`, type: "int", doc: "Words that it found." },
    { name: `${prefix}handwriting`, type: "double", doc: "Share of the words that are written by hand, 0 to 1." },
  ];
  const isAsked = ({ values }: EnricherInput): boolean => all || values?.["needs_ocr"] !== false;

  /** A page of a PDF as an image; an image as it is. */
  async function pictureOf(
    { asset, values }: EnricherInput,
    signal: AbortSignal | undefined,
  ): Promise<Uint8Array | string> {
    const { bytes, uri } = asset!;
    const mediaType = sniffMediaType(bytes.subarray(0, 8192), uri);
    if (images.has(mediaType)) return bytes;
    if (mediaType !== "application/pdf") return `it is ${mediaType}: the service takes JPEG, PNG, TIFF and PDF`;
    const page = typeof values?.["page"] === "number" ? values["page"] : 1;
    const programs = findPrograms(["pdftoppm"]);
    return withFile(bytes, "page.pdf", async (path) => {
      const parts: Uint8Array[] = [];
      try {
        const input = [path, { page, resolution, programs }];
        const outputs = runInSandbox({
          module,
          input,
          file: uri,
          path,
          programs: true,
          ...drawing,
          ...(signal ? { signal } : {}),
        });
        for await (const output of outputs) if (output instanceof Uint8Array) parts.push(output);
      } catch (error) {
        if (!isMillraceError(error) || error.code === "aborted" || error.code === "internal") throw error;
        return error.message;
      }
      return Buffer.concat(parts);
    });
  }

  async function ask(input: EnricherInput, signal: AbortSignal | undefined): Promise<Enriched> {
    if (!isAsked(input)) return { values: [null, null, null, null] };
    const picture = await pictureOf(input, signal);
    if (typeof picture === "string") return { rejected: picture };
    if (picture.length > maximumBytes)
      return { rejected: `the page has ${picture.length} bytes, and the service takes 10 MiB: lower \`resolution\`` };
    const { Blocks: blocks = [] } = await client.send(
      new DetectDocumentTextCommand({ Document: { Bytes: picture } }),
      signal ? { abortSignal: signal } : {},
    );
    return { values: valuesOf(blocks), cost: options.price_page };
  }

  return {
    model: JSON.stringify({ textract: "DetectDocumentText", resolution, all }),
    reads: (input) => ["page", "needs_ocr"].filter((name) => input.some((column) => column.name === name)),
    columns: () => columns,

    async check(signal) {
      throwIfAborted(signal);
      try {
        // No document: who may ask is told so, and pays nothing.
        const nothing = { Document: { Bytes: Buffer.from("no document") } };
        await client.send(new DetectDocumentTextCommand(nothing), signal ? { abortSignal: signal } : {});
      } catch (error) {
        throwIfAborted(signal);
        if (!ownFault.test((error as Error).name)) throw awsError(error, service, permissions);
      }
    },

    estimate: (inputs) => ({ cost: inputs.filter(isAsked).length * options.price_page, currency: "USD" }),

    async enrich(inputs, { signal, keep }) {
      throwIfAborted(signal);
      const answers: Enriched[] = [];
      await forEachLimited(inputs, options.connections, async (input, index) => {
        try {
          answers[index] = await ask(input, signal);
        } catch (error) {
          throwIfAborted(signal);
          if (isMillraceError(error) || !ownFault.test((error as Error).name))
            throw awsError(error, service, permissions);
          answers[index] = { rejected: messageOf(error) };
        }
        await keep?.(index, answers[index]!);
      });
      return answers;
    },

    async [Symbol.asyncDispose]() {
      client.destroy();
    },
  };
}

function valuesOf(blocks: readonly Block[]): [string, number | null, number, number | null] {
  const lines = blocks.filter(({ BlockType }) => BlockType === "LINE").map(({ Text }) => Text ?? "");
  const words = blocks.filter(({ BlockType }) => BlockType === "WORD");
  const share = (value: number): number | null => (words.length === 0 ? null : value / words.length);
  const sure = words.reduce((sum, { Confidence }) => sum + (Confidence ?? 0), 0);
  const byHand = words.filter(({ TextType }) => TextType === "HANDWRITING").length;
  return [lines.join("\n"), share(sure), words.length, share(byHand)];
}
