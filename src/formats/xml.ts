import { SaxesParser, type SaxesTagPlain } from "saxes";
import { MillraceError } from "../core/index.ts";

/** What is told of XML, by local names. */
export interface Handler {
  open?(name: string, attributes: Record<string, string>): void;
  text?(text: string): void;
  close?(name: string): void;
}

const maximumDepth = 100;

/** Some producers write every name with a prefix. */
function local(name: string): string {
  const colon = name.indexOf(":");
  return colon < 0 ? name : name.slice(colon + 1);
}

/**
 * Reads XML as it comes, in UTF-8 or UTF-16. `what` names it in errors. Throws `parse` for what is not well-formed and for a document
 * type, and `limit` for what is nested more than 100 deep.
 */
export function xmlReader(what: string, handler: Handler): { write(bytes: Uint8Array): void; close(): void } {
  const parser = new SaxesParser({ xmlns: false, position: false });
  let depth = 0;
  parser.on("error", (error) => {
    throw new MillraceError("parse", `${what} is not well-formed XML: ${error.message}`);
  });
  parser.on("doctype", () => {
    throw new MillraceError("parse", `${what} has a document type, which it does not need and attacks use`);
  });
  parser.on("opentag", (tag: SaxesTagPlain) => {
    if (++depth > maximumDepth) throw new MillraceError("limit", `${what} is nested more than ${maximumDepth} deep`);
    handler.open?.(local(tag.name), tag.attributes);
  });
  parser.on("closetag", (tag: SaxesTagPlain) => {
    depth--;
    handler.close?.(local(tag.name));
  });
  if (handler.text) {
    parser.on("text", (text) => handler.text!(text));
    parser.on("cdata", (text) => handler.text!(text));
  }
  let decoder: InstanceType<typeof TextDecoder> | undefined;
  return {
    write(bytes) {
      decoder ??= new TextDecoder(bytes[0] === 0xff ? "utf-16le" : bytes[0] === 0xfe ? "utf-16be" : "utf-8", {
        fatal: true,
      });
      parser.write(decoder.decode(bytes, { stream: true }));
    },
    close() {
      parser.write(decoder?.decode() ?? "");
      parser.close();
    },
  };
}
