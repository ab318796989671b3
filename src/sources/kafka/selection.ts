import { MillraceError, messageOf } from "../../core/index.ts";

/** Which topics a stream is. */
export interface Selection {
  /** Undefined: those whose names fit. */
  names: string[] | undefined;
  fits(name: string): boolean;
}

/** `orders`, `orders,payments` or `/^shop\./`. Throws `config`. */
export function selectionOf(stream: string | undefined, connection: string): Selection {
  const where = { connection };
  if (stream === undefined)
    throw new MillraceError("unsupported", "Kafka has no query language; name a topic with `stream`", { where });
  const pattern = /^\/(.+)\/$/s.exec(stream)?.[1];
  if (pattern !== undefined) {
    try {
      const expression = new RegExp(pattern, "u");
      return { names: undefined, fits: (name) => expression.test(name) };
    } catch (cause) {
      throw new MillraceError("config", `the pattern of \`stream\` cannot be used: ${messageOf(cause)}`, {
        where,
        cause,
      });
    }
  }
  const names = [...new Set(stream.split(",").map((name) => name.trim()))];
  const wrong = names.find((name) => !/^[\w.-]{1,249}$/.test(name));
  if (wrong !== undefined) {
    throw new MillraceError("config", `\`${wrong}\` is not the name of a topic`, {
      where,
      hint: "`stream` is a topic, several with commas between them, or a pattern: `/^shop\\./`",
    });
  }
  return { names, fits: (name) => names.includes(name) };
}
