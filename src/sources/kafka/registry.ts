import { rootCertificates } from "node:tls";
import { isMillraceError, MillraceError, registerSecret, safeFetch, type SourceContext } from "../../core/index.ts";
import type { KafkaOptions } from "./options.ts";
import { fileOf } from "./settings.ts";

export type RegistryOptions = NonNullable<KafkaOptions["registry"]>;

export interface RegisteredSchema {
  type: "AVRO" | "PROTOBUF" | "JSON";
  text: string;
  /** Texts of the schemas that it refers to, those that others refer to before them. */
  references: string[];
}

interface SchemaAnswer {
  schema: string;
  schemaType?: RegisteredSchema["type"];
  references?: { subject: string; version: number }[];
}

const longestSchema = 8 * 1024 ** 2;
const mostReferences = 200;

/** A client of a schema registry with Confluent's API. Schemas never change under their ids: each is asked for once. */
export class SchemaRegistry {
  readonly #options: RegistryOptions;
  readonly #context: Pick<SourceContext, "connection" | "folder">;
  readonly #schemas = new Map<number, Promise<RegisteredSchema>>();

  constructor(options: RegistryOptions, context: Pick<SourceContext, "connection" | "folder">) {
    this.#options = options;
    this.#context = context;
    for (const secret of [options.password, options.token]) if (secret !== undefined) registerSecret(secret);
  }

  /** Throws `not-found`, `authentication`, `unreachable` (temporary). */
  schema(id: number, signal?: AbortSignal): Promise<RegisteredSchema> {
    const known = this.#schemas.get(id);
    if (known !== undefined) return known;
    const asked = this.#fetch(id, signal);
    this.#schemas.set(id, asked);
    asked.catch(() => this.#schemas.delete(id));
    return asked;
  }

  async #fetch(id: number, signal: AbortSignal | undefined): Promise<RegisteredSchema> {
    const answer = await this.#get(`schemas/ids/${id}`, signal);
    const references = new Map<string, string>();
    const follow = async (each: SchemaAnswer): Promise<void> => {
      for (const { subject, version } of each.references ?? []) {
        const name = `${subject}/${version}`;
        if (references.has(name)) continue;
        if (references.size >= mostReferences) {
          throw new MillraceError("limit", `schema ${id} refers to more than ${mostReferences} others`, {
            where: this.#where,
          });
        }
        references.set(name, "");
        const found = await this.#get(`subjects/${encodeURIComponent(subject)}/versions/${version}`, signal);
        await follow(found);
        // After what it refers to itself.
        references.delete(name);
        references.set(name, found.schema);
      }
    };
    await follow(answer);
    return { type: answer.schemaType ?? "AVRO", text: answer.schema, references: [...references.values()] };
  }

  get #where(): { connection: string } {
    return { connection: this.#context.connection };
  }

  async #get(path: string, signal: AbortSignal | undefined): Promise<SchemaAnswer> {
    const { url, username, password, token, allow_hosts: allowHosts, ca } = this.#options;
    const authority = await fileOf(ca, "registry.ca", this.#context);
    const basic = username === undefined ? undefined : Buffer.from(`${username}:${password ?? ""}`).toString("base64");
    const authorization = token === undefined ? basic && `Basic ${basic}` : `Bearer ${token}`;
    const response = await safeFetch(new URL(path, url.endsWith("/") ? url : `${url}/`), {
      headers: {
        accept: "application/vnd.schemaregistry.v1+json, application/json",
        ...(authorization === undefined ? {} : { authorization }),
      },
      allowHosts,
      deadlineMs: 30_000,
      maximumBytes: longestSchema,
      ...(authority === undefined ? {} : { tls: { ca: [...rootCertificates, authority] } }),
      ...(signal === undefined ? {} : { signal }),
    });
    try {
      await response.expectOk();
      const answer = JSON.parse(await response.text()) as SchemaAnswer;
      if (typeof answer.schema !== "string") throw new MillraceError("parse", "the answer holds no schema");
      return answer;
    } catch (error) {
      if (isMillraceError(error)) {
        throw new MillraceError(error.code, `the schema registry, \`${path}\`: ${error.message}`, {
          cause: error,
          where: this.#where,
          temporary: error.temporary,
          hint: error.hint ?? "look at `registry`: address and credentials",
        });
      }
      throw new MillraceError("parse", `the schema registry, \`${path}\`: the answer is not JSON`, {
        cause: error,
        where: this.#where,
      });
    }
  }
}
