import { readFile } from "node:fs/promises";
import { resolve } from "node:path";
import {
  isMillraceError,
  MillraceError,
  parseHttpUrl,
  parseJson,
  retry,
  safeFetch,
  shownUrl,
  type FetchOptions,
  type FetchResponse,
} from "../../core/index.ts";
import type { Match } from "./attributes.ts";
import type { DicomwebOptions } from "./index.ts";

/** A service of DICOMweb, as its configuration names it. */
export interface Service {
  /** The root, without a slash at its end. */
  root: string;
  /** Sends one request and gives an answer of 2xx. Its body must be read or the answer closed. Whoever reads it tries again. */
  get(path: string, accept: string, maximumBytes: number, signal: AbortSignal | undefined): Promise<FetchResponse>;
  /** The matches that one request of QIDO-RS gives. */
  matches(path: string, parameters: readonly (readonly [string, string])[], signal?: AbortSignal): Promise<Match[]>;
}

/** A body may take long to come, as long as it comes. */
const deadlineMs = 24 * 3600_000;
/** A page of matches. */
const maximumPage = 256 * 1024 ** 2;

/** One segment of a path. Throws `parse` for a UID that would lead elsewhere. */
export function segment(uid: string): string {
  if (uid !== "" && uid !== "." && uid !== ".." && uid.length <= 128 && uid.isWellFormed()) {
    return encodeURIComponent(uid);
  }
  throw new MillraceError("parse", `the server names ${JSON.stringify(uid.slice(0, 80).toWellFormed())} as a UID`, {
    hint: "look at the instance on the server",
  });
}

/** The certificates of the options, as `node:tls` takes them. Throws `config`. */
async function certificatesOf(
  options: DicomwebOptions,
  folder: string,
  connection: string,
): Promise<FetchOptions["tls"]> {
  if ((options.certificate === undefined) !== (options.key === undefined)) {
    throw new MillraceError("config", "`certificate` and `key` go together, and one of them is missing", {
      where: { connection },
      hint: "name both files, or none",
    });
  }
  const read = async (option: "ca" | "certificate" | "key"): Promise<string | undefined> => {
    const file = options[option];
    if (file === undefined) return undefined;
    try {
      return await readFile(resolve(folder, file), "utf8");
    } catch (cause) {
      throw new MillraceError("config", `the file \`${file}\` of \`${option}\` cannot be read`, {
        where: { connection },
        cause,
        hint: "the path is taken from the folder of the configuration file",
      });
    }
  };
  const [ca, cert, key] = [await read("ca"), await read("certificate"), await read("key")];
  return { ...(ca && { ca }), ...(cert && { cert }), ...(key && { key }) };
}

/** Throws `config` for options that do not fit together. */
export async function openService(options: DicomwebOptions, folder: string, connection: string): Promise<Service> {
  const url = parseHttpUrl(options.url);
  const where = { connection };
  if (url.search !== "") {
    throw new MillraceError("config", "`url` is the root of the service, and has no query", {
      where,
      hint: "put attributes to search by into `query`",
    });
  }
  if (options.user !== undefined && options.authorization !== undefined) {
    throw new MillraceError("config", "`user` and `authorization` are two ways to say who we are", {
      where,
      hint: "leave one of them out",
    });
  }
  const root = url.href.replace(/\/+$/, "");
  const { user, password = "", authorization, headers, allow_hosts: allowHosts } = options;
  const basic = user === undefined ? undefined : `Basic ${Buffer.from(`${user}:${password}`).toString("base64")}`;
  const identity = authorization ?? basic;
  const all = { ...headers, ...(identity === undefined ? {} : { authorization: identity }) };

  const tls = await certificatesOf(options, folder, connection);
  const get: Service["get"] = async (path, accept, maximumBytes, signal) => {
    const response = await safeFetch(root + path, {
      headers: { ...all, accept },
      allowHosts,
      deadlineMs,
      maximumBytes,
      tls,
      ...(signal === undefined ? {} : { signal }),
    });
    try {
      return await response.expectOk();
    } catch (error) {
      throw isMillraceError(error) ? error.at(where) : error;
    }
  };
  return {
    root,
    get,
    matches: (path, parameters, signal) =>
      retry(
        async () => {
          const query = parameters.map(([name, value]) => `${name}=${encodeURIComponent(value)}`).join("&");
          const target = query === "" ? path : `${path}?${query}`;
          const accept = "application/dicom+json, application/json;q=0.9";
          await using response = await get(target, accept, maximumPage, signal);
          return await matchesOf(response, where);
        },
        signal === undefined ? {} : { signal },
      ),
  };
}

async function matchesOf(response: FetchResponse, where: { connection: string }): Promise<Match[]> {
  if (response.status === 204) return [];
  const type = response.header("content-type") ?? "";
  if (!/^\s*application\/(dicom\+)?json\b/i.test(type)) throw wrongType(response, type, "DICOM JSON").at(where);
  const bytes = await response.bytes();
  if (bytes.length === 0) return [];
  const what = shownUrl(response.url);
  let value: unknown;
  try {
    value = parseJson(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new MillraceError("parse", `\`${what}\` does not answer with whole JSON in UTF-8`, {
      where,
      cause,
      // Nothing else would tell that an answer without a length was cut.
      temporary: response.framing === "close",
      hint: "look at what the server, or a proxy before it, answers there",
    });
  }
  const isMatch = (each: unknown): each is Match => typeof each === "object" && each !== null && !Array.isArray(each);
  if (Array.isArray(value) && value.every(isMatch)) return value;
  throw new MillraceError("parse", `\`${what}\` does not answer with a list of matches`, {
    where,
    hint: "`url` must be the root of a DICOMweb service, such as `https://pacs.example/dicom-web`",
  });
}

/** The error for an answer that is something else, such as the page of a login. */
export function wrongType(response: FetchResponse, type: string, wanted: string): MillraceError {
  const shown = type === "" ? "no media type" : `\`${type.replace(/;.*$/, "").trim().slice(0, 80)}\``;
  const isPage = /^\s*(text\/html|application\/xhtml)/i.test(type);
  return new MillraceError("parse", `\`${shownUrl(response.url)}\` answers with ${shown} instead of ${wanted}`, {
    hint: isPage
      ? "a page for people, such as a login, answers there: look at `url` and at the credentials of the connection"
      : "`url` must be the root of a DICOMweb service, such as `https://pacs.example/dicom-web`",
  });
}
