import { isMillraceError, MillraceError, messageOf } from "../core/index.ts";
import { redact } from "../core/secrets.ts";
import { ageSeconds } from "./answer.ts";
import {
  countRows,
  questionOf,
  replyRows,
  replyText,
  withFields,
  type Lives,
  type RespClient,
  type RespOptions,
} from "./resp-rows.ts";

type Handler = (client: RespClient, words: string[], lives: Lives, options: RespOptions) => void | Promise<void>;

/** Clients decide by it what they may send. */
const redisVersion = "7.2.0";

/**
 * Commands of Redis that read. A key is the name of a lookup, a colon and the key: `flights:JFK`, of several columns `flights:JFK,7`.
 * Rows of an index are answered at once, those of a published copy when it has answered.
 */
const handlers: Record<string, Handler> = {
  get: (client, words, lives, options) =>
    replyRows(client, questionOf(counted(words, 1, 1), lives, options), options, false),
  mget: (client, words, lives, options) =>
    replyRows(client, questionOf(counted(words, 1), lives, options), options, true),
  hget: (client, words, lives, options) => {
    const [key, ...columns] = counted(words, 2, 2);
    return withFields(questionOf([key!], lives, options), columns, ({ values }) => replyText(client, values[0]));
  },
  hmget: (client, words, lives, options) => {
    const [key, ...columns] = counted(words, 2);
    return withFields(questionOf([key!], lives, options), columns, ({ values }) => {
      client.replies.array(columns.length);
      for (const index of columns.keys()) replyText(client, values[index]);
    });
  },
  hgetall: (client, words, lives, options) =>
    withFields(questionOf(counted(words, 1, 1), lives, options), undefined, ({ names, values }) => {
      // A hash of Redis has no nulls: a field is there or it is not.
      const present = names.flatMap((name, index) => (values[index] === undefined ? [] : [[name, values[index]]]));
      client.replies.map(present.length);
      for (const word of present.flat()) client.replies.text(word!);
    }),
  exists: async (client, words, lives, options) =>
    client.replies.integer(await countRows(questionOf(counted(words, 1), lives, options))),
  ping: ({ replies }, [message]) => (message === undefined ? replies.simple("PONG") : replies.text(message)),
  echo: ({ replies }, words) => replies.text(counted(words, 1, 1)[0]!),
  select: (client, words) => {
    const [database] = counted(words, 1, 1);
    if (database !== "0" && database !== "1") {
      throw new MillraceError("usage", "there are the databases 0 (rows as JSON) and 1 (packed records)");
    }
    client.form = database === "0" ? "json" : "packed";
    client.replies.simple("OK");
  },
  hello: ({ replies }, [version = String(replies.protocol)]) => {
    if (version !== "2" && version !== "3") return replies.error("NOPROTO", "unsupported protocol version");
    replies.protocol = version === "3" ? 3 : 2;
    const about = { server: "redis", version: redisVersion, mode: "standalone", role: "master" };
    replies.map(Object.keys(about).length + 1);
    for (const word of Object.entries(about).flat()) replies.text(word);
    replies.text("proto");
    replies.integer(replies.protocol);
  },
  info: ({ replies }, _words, lives) => replies.text(info(lives)),
  client: ({ replies }, [part = ""]) => {
    if (part.toLowerCase() === "id") replies.integer(1);
    else replies.simple("OK");
  },
  command: ({ replies }) => replies.array(0),
  reset: (client) => {
    client.form = "json";
    client.replies.protocol = 2;
    client.replies.simple("RESET");
  },
  quit: (client) => {
    client.leaving = true;
    client.replies.simple("OK");
  },
};

/** Runs a command and writes its reply; a promise when it has to wait. Never throws: what is wrong is the reply. */
export function execute(
  client: RespClient,
  words: readonly Buffer[],
  lives: Lives,
  options: RespOptions,
): void | Promise<void> {
  const [first = "", ...rest] = words.map((word) => word.toString("utf8"));
  const name = first.toLowerCase();
  try {
    if (Object.hasOwn(handlers, name)) {
      return handlers[name]!(client, rest, lives, options)?.catch((error: unknown) => fail(client, error));
    }
    throw new MillraceError("unsupported", `unknown command '${first.slice(0, 60)}'`, {
      hint: "lookups answer GET, MGET, HGET, HMGET, HGETALL and EXISTS",
    });
  } catch (error) {
    fail(client, error);
  }
}

function fail({ replies }: RespClient, error: unknown): void {
  const hint = isMillraceError(error) && error.hint !== undefined ? `; ${error.hint}` : "";
  replies.error("ERR", redact(`${messageOf(error)}${hint}`));
}

function counted(words: string[], least: number, most = Infinity): string[] {
  if (words.length >= least && words.length <= most) return words;
  throw new MillraceError("usage", "wrong number of arguments");
}

/** What `INFO` says: that the server is ready, and which versions answer. */
function info(lives: Lives): string {
  const now = Date.now();
  const lines = ["# Server", `redis_version:${redisVersion}`, "redis_mode:standalone", "server_name:millrace"];
  lines.push("", "# Persistence", "loading:0", "", "# Lookups");
  for (const [name, { lookup, problem }] of lives) {
    const { index } = lookup;
    const stale = problem === undefined ? "" : ",stale=1";
    if (index === undefined) lines.push(`${name}:published_copy=1${stale}`);
    else {
      const published = `${new Date(index.published).toISOString()},age_seconds=${ageSeconds(index.published, now)}`;
      lines.push(`${name}:version=${index.version},rows=${index.rows},published=${published}${stale}`);
    }
  }
  return redact(`${lines.join("\r\n")}\r\n`);
}
