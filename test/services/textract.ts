import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect } from "vitest";
import { requireAwsModel } from "./aws-model.ts";
import { requireProgram } from "./install.ts";

const run = promisify(execFile);

/** A likeness of Textract, held to AWS's own description of it, that reads with tesseract. */
export interface TextractDouble extends AsyncDisposable {
  endpoint: string;
  /** Pages that were read, and so paid for. */
  paid: number;
  problems: unknown[];
  failNext: string | undefined;
}

/** Throws `unreachable` when AWS's description or tesseract cannot be had. */
export async function startTextract(): Promise<TextractDouble> {
  const model = await requireAwsModel("textract");
  const tesseract = await requireProgram({ service: "tesseract", packages: ["tesseract-ocr"], name: "tesseract" });
  const folder = await mkdtemp(join(tmpdir(), "millrace-textract-"));
  const double = { paid: 0, problems: [], failNext: undefined } as unknown as TextractDouble;
  let count = 0;
  const blocksOf = async (bytes: Buffer): Promise<object[]> => {
    const path = join(folder, `${count++}`);
    await writeFile(path, bytes);
    await run(tesseract, [path, path, "--dpi", "200"]).catch(() => {
      throw new Error("UnsupportedDocumentException");
    });
    const lines = (await readFile(`${path}.txt`, "utf8")).split("\n").filter((line) => line.trim() !== "");
    double.paid++;
    const place = { Geometry: { BoundingBox: { Left: 0, Top: 0, Width: 1, Height: 0.1 } }, Page: 1 };
    return [
      { BlockType: "PAGE", Id: "page", ...place },
      ...lines.map((Text, index) => ({ BlockType: "LINE", Id: `line-${index}`, Text, Confidence: 98, ...place })),
      ...lines.flatMap((line, index) =>
        line.split(/\s+/).map((Text, word) => ({
          BlockType: "WORD",
          Id: `word-${index}-${word}`,
          Text,
          TextType: word === 0 ? "HANDWRITING" : "PRINTED",
          Confidence: 97.5,
          ...place,
        })),
      ),
    ];
  };
  const held = (action: () => void): void => {
    try {
      action();
    } catch (problem) {
      double.problems.push(problem);
    }
  };
  const serve = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
    const body = JSON.parse(Buffer.concat(chunks).toString()) as { Document: { Bytes: string } };
    const operation = String(request.headers["x-amz-target"]).replace("Textract.", "");
    const answer = (status: number, value: object): void => {
      response.writeHead(status, { "content-type": "application/x-amz-json-1.1" }).end(JSON.stringify(value));
    };
    held(() => expect(operation).toBe("DetectDocumentText"));
    held(() =>
      expect(request.headers.authorization).toMatch(
        /^AWS4-HMAC-SHA256 Credential=\S+\/us-east-1\/textract\/aws4_request/,
      ),
    );
    held(() => model.assertInput(operation, body));
    const { failNext } = double;
    double.failNext = undefined;
    try {
      if (failNext !== undefined) throw new Error(failNext);
      const value = {
        DocumentMetadata: { Pages: 1 },
        Blocks: await blocksOf(Buffer.from(body.Document.Bytes, "base64")),
        DetectDocumentTextModelVersion: "1.0",
      };
      held(() => model.assertOutput(operation, value));
      answer(200, value);
    } catch (error) {
      answer(400, { __type: (error as Error).message, message: `the double says ${(error as Error).message}` });
    }
  };
  const server = createServer((request, response) => void serve(request, response)).listen(0, "127.0.0.1");
  await once(server, "listening");
  return Object.assign(double, {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
      await rm(folder, { recursive: true, force: true });
    },
  });
}
