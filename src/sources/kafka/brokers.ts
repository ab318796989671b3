import { Connection, ResponseError, type ConnectionOptions } from "@platformatic/kafka";
import { isMillraceError, MillraceError, throwIfAborted, withDeadline } from "../../core/index.ts";
import { clientError } from "./errors.ts";
import type { KafkaOptions } from "./options.ts";

/** Requests on one connection wait for each other: what may take long has a lane of its own. */
export type Lane = "ask" | "read" | "wait";

/** Connections to the brokers, opened when they are needed; each call has a deadline, and a connection that keeps it waiting is given up. */
export class Brokers implements AsyncDisposable {
  readonly #options: KafkaOptions;
  readonly #settings: (host: string) => ConnectionOptions;
  readonly #where: { connection: string };
  readonly #open = new Map<string, Promise<Connection>>();
  /** By their ids, as the last answer had them. */
  readonly known = new Map<number, { host: string; port: number }>();
  #isClosed = false;

  constructor(options: KafkaOptions, settings: (host: string) => ConnectionOptions, connection: string) {
    this.#options = options;
    this.#settings = settings;
    this.#where = { connection };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    const all = [...this.#open.values()];
    this.#open.clear();
    await Promise.all(all.map(async (each) => give(await each.catch(() => undefined))));
  }

  /** One call to a broker, or to any that can be reached. */
  async ask<T>(
    leader: number | undefined,
    lane: Lane,
    signal: AbortSignal | undefined,
    call: (connection: Connection) => Promise<T>,
    waitMs = 0,
  ): Promise<T> {
    throwIfAborted(signal);
    const addresses = this.#addresses(leader);
    let failure: unknown;
    for (const address of addresses) {
      const name = `${lane} ${address.host}:${address.port}`;
      let connection: Connection | undefined;
      try {
        const work = async (): Promise<T> => {
          connection = await this.#connection(name, address);
          return call(connection);
        };
        const milliseconds = this.#options.request_timeout_ms + waitMs;
        return await withDeadline(
          milliseconds,
          `the answer of the broker ${address.host}:${address.port}`,
          work,
          signal,
        );
      } catch (error) {
        // A refusal is an answer too: each entry of it has its own code.
        if (error instanceof ResponseError && error["response"] !== undefined) return error["response"] as T;
        this.#open.delete(name);
        void give(connection);
        if (isMillraceError(error) && error.code === "aborted") throw error;
        failure = clientError(error, `${address.host}:${address.port}`, this.#where);
        if (isMillraceError(failure) && !failure.temporary) throw failure;
      }
    }
    throw failure;
  }

  #addresses(leader: number | undefined): { host: string; port: number }[] {
    if (leader !== undefined) {
      const known = this.known.get(leader);
      if (known !== undefined) return [known];
      throw new MillraceError("unreachable", `the broker ${leader} is not there`, {
        where: this.#where,
        temporary: true,
      });
    }
    const given = this.#options.brokers.map((text) => {
      const colon = text.lastIndexOf(":");
      return { host: text.slice(0, colon).replace(/^\[|\]$/g, ""), port: Number(text.slice(colon + 1)) };
    });
    // Brokers that are known may serve when those that were named do not.
    const more = [...this.known.values()].filter(
      ({ host, port }) => !given.some((each) => each.host === host && each.port === port),
    );
    return [...given, ...more];
  }

  #connection(name: string, { host, port }: { host: string; port: number }): Promise<Connection> {
    if (this.#isClosed) throw new MillraceError("usage", "the source is closed already", { where: this.#where });
    const known = this.#open.get(name);
    if (known !== undefined) return known;
    const connection = new Connection(this.#options.client_id, this.#settings(host));
    // Calls that wait are told; without a listener the process would end.
    connection.on("error", () => undefined);
    connection.on("close", () => this.#open.delete(name));
    const made = Promise.resolve(connection.connect(host, port)).then(() => connection);
    this.#open.set(name, made);
    made.catch(() => this.#open.delete(name));
    return made;
  }
}

async function give(connection: Connection | undefined): Promise<void> {
  if (connection === undefined) return;
  await Promise.resolve(connection.close()).catch(() => undefined);
  (connection.socket as Connection["socket"] | undefined)?.destroy();
}
