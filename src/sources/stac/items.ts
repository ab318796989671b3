import { MillraceError, suggestion, type Column } from "../../core/index.ts";
import { notStac, text, type Document, type Json } from "./client.ts";
import { linkOf } from "./links.ts";
import type { PropertyType, StreamOptions } from "./options.ts";

/** One item, and where it came from. */
export interface Item {
  id: string;
  collection: string | null;
  document: Document;
  /** Where it is found again. */
  href: string;
  properties: Json;
}

const asText = (value: unknown): string | null => (typeof value === "string" ? value : null);
const isObject = (value: unknown): value is Json =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A document that is an item. Throws `parse`. */
export function itemOf(document: Document, href = document.url.href): Item {
  const { value, url } = document;
  const { id, properties } = value;
  if (value["type"] !== "Feature" || typeof id !== "string" || id === "" || !isObject(properties)) throw notStac(url);
  return { id, collection: asText(value["collection"]), document, href, properties };
}

/** The items of a page. */
export function itemsOf(page: Document): Item[] {
  const { features } = page.value;
  if (!Array.isArray(features)) throw notStac(page.url);
  return features.map((value) => {
    if (!isObject(value)) throw notStac(page.url);
    const document = { url: page.url, value };
    return itemOf(document, (linkOf(document, "self") ?? document).url.href);
  });
}

type Field = Column & { value: (item: Item) => unknown };

const property =
  (name: string) =>
  ({ properties }: Item): unknown =>
    properties[name] ?? null;
const moment =
  (name: string) =>
  ({ properties }: Item): unknown => {
    const value = properties[name];
    const micros = typeof value === "string" ? microsOf(value) : undefined;
    // What is no moment is left for the reader of the rows to refuse.
    return micros === undefined ? (value ?? null) : momentOf(micros);
  };
const json = (value: unknown): string | null => (value === undefined || value === null ? null : text(value));

const fields: readonly Field[] = [
  { name: "id", type: "string", doc: "Unique within its collection.", value: ({ id }) => id },
  { name: "collection", type: "string", value: ({ collection }) => collection },
  {
    name: "datetime",
    type: "timestamptz",
    doc: "Null where the item has a begin and an end.",
    value: moment("datetime"),
  },
  { name: "start_datetime", type: "timestamptz", value: moment("start_datetime") },
  { name: "end_datetime", type: "timestamptz", value: moment("end_datetime") },
  { name: "created", type: "timestamptz", doc: "Of the metadata.", value: moment("created") },
  { name: "updated", type: "timestamptz", doc: "Of the metadata.", value: moment("updated") },
  {
    name: "bbox",
    type: { type: "list", element: "double" },
    doc: "West, south, east, north in degrees; six numbers with heights.",
    value: ({ document }) => document.value["bbox"] ?? null,
  },
  { name: "geometry", type: "string", doc: "GeoJSON.", value: ({ document }) => json(document.value["geometry"]) },
  { name: "cloud_cover", type: "double", doc: "Percent.", value: property("eo:cloud_cover") },
  { name: "platform", type: "string", value: property("platform") },
  { name: "gsd", type: "double", doc: "Metres between pixels on the ground.", value: property("gsd") },
  { name: "epsg", type: "int", doc: "Reference system of the assets.", value: epsgOf },
  { name: "properties", type: "string", doc: "All properties as JSON.", value: ({ properties }) => text(properties) },
  {
    name: "assets",
    type: "string",
    doc: "All assets as JSON.",
    value: ({ document }) => json(document.value["assets"]),
  },
  {
    name: "href",
    type: "string",
    doc: "Where the item itself is.",
    value: ({ document }) => linkOf(document, "self")?.url.href ?? null,
  },
];

function epsgOf({ properties }: Item): unknown {
  const code = /^EPSG:(\d+)$/.exec(asText(properties["proj:code"]) ?? "")?.[1];
  return properties["proj:epsg"] ?? (code === undefined ? null : Number(code));
}

/** Fixed columns, and those for the properties that are asked for: `eo:snow_cover` becomes `eo_snow_cover`. */
function fieldsOf(properties: Readonly<Record<string, PropertyType>>): Field[] {
  return [
    ...fields,
    ...Object.entries(properties).map(([name, type]): Field => ({
      name: name.replaceAll(/[^\p{L}\p{N}_]/gu, "_"),
      type,
      doc: `The property \`${name}\`.`,
      value: (item) => {
        if (type === "timestamptz") return moment(name)(item);
        const value = item.properties[name];
        return type === "string" && typeof value !== "string" ? json(value) : (value ?? null);
      },
    })),
  ];
}

/** Chosen fields, in the order of the request. Throws `not-found` for columns that are not there. */
export function chosenFields(options: StreamOptions, columns: readonly string[] | undefined): Field[] {
  const all = fieldsOf(options.properties);
  const twice = all.find(({ name }, index) => all.findIndex((other) => other.name === name) !== index);
  if (twice !== undefined) {
    throw new MillraceError("config", `\`properties\` would make a second column \`${twice.name}\``, {
      hint: "leave it out: the column `properties` holds all of them",
    });
  }
  return chosen(all, columns);
}

/** Throws `not-found` for columns that are not there. */
export function chosen<Each extends Column>(all: readonly Each[], columns: readonly string[] | undefined): Each[] {
  if (columns === undefined) return [...all];
  return columns.map((name) => {
    const found = all.find((field) => field.name === name);
    if (found !== undefined) return found;
    throw new MillraceError("not-found", `there is no column \`${name}\``, {
      where: { column: name },
      hint: suggestion(
        name,
        all.map((field) => field.name),
      ),
    });
  });
}

export const columnsOf = (chosenOnes: readonly Column[]): Column[] =>
  chosenOnes.map(({ name, type, doc }) => ({ name, type, ...(doc === undefined ? {} : { doc }) }));

/** One line of NDJSON. */
export function lineOf(item: Item, chosenOnes: readonly Field[]): string {
  return `${text(Object.fromEntries(chosenOnes.map(({ name, value }) => [name, value(item)])))}\n`;
}

/** Microseconds since the epoch of a moment by RFC 3339; undefined for what is none. */
export function microsOf(value: string): bigint | undefined {
  const match = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d+))?([Zz]|[+-]\d\d:?\d\d)$/.exec(value.trim());
  if (match === null) return undefined;
  const [, date, time, fraction = "", zone] = match;
  const milliseconds = Date.parse(
    `${date}T${time}${/^[+-]\d{4}$/.test(zone!) ? `${zone!.slice(0, 3)}:${zone!.slice(3)}` : zone!.toUpperCase()}`,
  );
  if (Number.isNaN(milliseconds)) return undefined;
  return BigInt(milliseconds) * 1000n + BigInt(fraction.slice(0, 6).padEnd(6, "0"));
}

/** Microseconds as RFC 3339 in UTC. Equal moments have equal texts, and later ones greater texts. */
export function momentOf(micros: bigint): string {
  const seconds = micros / 1_000_000n - (micros % 1_000_000n < 0n ? 1n : 0n);
  const rest = micros - seconds * 1_000_000n;
  return `${new Date(Number(seconds) * 1000).toISOString().slice(0, 19)}.${String(rest).padStart(6, "0")}Z`;
}
