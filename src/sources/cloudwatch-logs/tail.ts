import { setTimeout as sleep } from "node:timers/promises";
import { StartLiveTailCommand, type StartLiveTailResponseStream } from "@aws-sdk/client-cloudwatch-logs";
import type { CloudwatchLogsOptions } from "./index.ts";
import type { Group, Service } from "./service.ts";

/** A session follows so many groups. */
const groupsOfSession = 10;
/** Without a session, and for what a session does not tell of, it is looked so often. */
const longestPauseMs = 15_000;
/** What was told of may be found a little later only. */
const echoMs = [500, 1_000, 2_000, 4_000];

/**
 * The live tail of some groups: it says that something has come, and nothing more. It is a sample of what comes, ends after three hours and
 * is not there on every server, so that events are never taken from it.
 */
export class Tail {
  readonly #service: Service;
  readonly #options: CloudwatchLogsOptions;
  #groups = "";
  #stop = new AbortController();
  #heard = 0;
  #echo = echoMs.length;
  #wake: (() => void) | undefined;

  constructor(service: Service, options: CloudwatchLogsOptions) {
    this.#service = service;
    this.#options = options;
  }

  /** Resolves with true once something may have come, with false when the time is up or the signal was given. */
  async wait(groups: readonly Group[], milliseconds: number, signal?: AbortSignal): Promise<boolean> {
    this.#follow(groups);
    const due = this.#heard > 0 ? 0 : (echoMs[this.#echo++] ?? longestPauseMs);
    if (due > 0) {
      const woken = Promise.withResolvers<void>();
      this.#wake = woken.resolve;
      const over = new AbortController();
      const either = signal === undefined ? over.signal : AbortSignal.any([signal, over.signal]);
      const pause = sleep(Math.min(due, milliseconds), undefined, { signal: either }).catch(() => undefined);
      await Promise.race([pause, woken.promise]);
      over.abort();
      this.#wake = undefined;
    }
    if (signal?.aborted === true) return false;
    const isNews = this.#heard > 0;
    if (isNews) [this.#heard, this.#echo] = [0, 0];
    return isNews || due <= milliseconds;
  }

  close(): void {
    this.#stop.abort();
    this.#groups = "";
  }

  #follow(groups: readonly Group[]): void {
    const arns = groups.map(({ arn }) => arn);
    if (this.#groups === arns.join()) return;
    this.close();
    this.#groups = arns.join();
    this.#stop = new AbortController();
    for (let from = 0; from < arns.length; from += groupsOfSession) {
      void this.#listen(arns.slice(from, from + groupsOfSession), this.#stop.signal);
    }
  }

  async #listen(arns: string[], signal: AbortSignal): Promise<void> {
    const { filter, streams } = this.#options;
    while (!signal.aborted) {
      const since = performance.now();
      try {
        const command = new StartLiveTailCommand({
          logGroupIdentifiers: arns,
          ...(filter === undefined ? {} : { logEventFilterPattern: filter }),
          ...(streams === undefined || arns.length > 1 ? {} : { logStreamNamePrefixes: [streams] }),
        });
        const { responseStream } = await this.#service.client.send(command, { abortSignal: signal });
        for await (const event of responseStream as AsyncIterable<StartLiveTailResponseStream>) {
          if ((event.sessionUpdate?.sessionResults?.length ?? 0) === 0) continue;
          this.#heard++;
          this.#wake?.();
        }
      } catch {
        // Without it, it is looked from time to time; what is wrong with the service, the next plan says.
      }
      const rest = longestPauseMs - (performance.now() - since);
      if (rest > 0) await sleep(rest, undefined, { signal }).catch(() => undefined);
    }
  }
}
