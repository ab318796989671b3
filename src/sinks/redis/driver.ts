import { randomBytes } from "node:crypto";
import { isMillraceError, MillraceError, throwIfAborted, type Sink, type SinkContext } from "../../core/index.ts";
import { connector, translated } from "./client.ts";
import type { Publication } from "./layout.ts";
import { getRows } from "./lookup.ts";
import type { Options } from "./options.ts";
import { isPublished, publishRows, readCurrent, type PublishState } from "./publish.ts";

/** Connects on first use. Throws `config` for options that do not fit together. */
export async function open(options: Options, context: SinkContext): Promise<Sink> {
  const { prefix } = options;
  const connection = await connector(options, context);
  const known = new Map<string, { text: string; publication: Publication }>();
  const within = <Result>(work: () => Promise<Result>): Promise<Result> => translated(context.connection, work);

  return {
    check: (signal) =>
      within(async () => {
        throwIfAborted(signal);
        const client = await connection.client();
        const name = `${prefix}check:${randomBytes(8).toString("hex")}`;
        await client.set(name, "1", "EX", 60);
        await client.eval("return redis.call('GET', KEYS[1])", 1, name);
        await client.unlink(name);
        throwIfAborted(signal);
      }),

    publish: (version, request) =>
      within(async () => {
        throwIfAborted(request.signal);
        if (request.mode === "merge") {
          throw new MillraceError("unsupported", "copies in Redis are whole versions and cannot be merged", {
            hint: "publish with `mode: replace`",
          });
        }
        const place = { prefix, target: request.target, keepSeconds: options.keep_s };
        const state: PublishState = { switching: false };
        try {
          return await publishRows(await connection.client(), place, version, request, state);
        } catch (error) {
          if (!state.switching) {
            throwIfAborted(request.signal);
            throw error;
          }
          // The answer to the switch was lost.
          const now = await connection
            .client()
            .then((client) => readCurrent(client, place))
            .catch(() => undefined);
          if (now === undefined) {
            throw new MillraceError(
              "unknown-outcome",
              `whether \`${request.target}\` holds the version is not known: the connection was lost as it was switched to`,
              {
                cause: error,
                temporary: true,
                hint: "publish again: what is there already is not written twice",
              },
            );
          }
          if (isPublished(now.found, version, request)) return { status: "published", rows: version.rows };
          throw error;
        }
      }),

    get: (request) =>
      within(async () => {
        const ask = async () => getRows(await connection.client(), { prefix, target: request.target }, request, known);
        try {
          return await ask();
        } catch (error) {
          // A connection that was lost while nobody used it is found out by the first who does.
          if (isMillraceError(error) || (error instanceof Error && error.name === "ReplyError")) throw error;
          return await ask();
        }
      }),

    [Symbol.asyncDispose]: () => connection.close(),
  };
}
