import { shownUrl } from "../../core/index.ts";
import type { CameraOptions } from "./index.ts";
import type { Spool } from "./spool.ts";

/** One run's recording. */
export interface Capture {
  options: CameraOptions;
  url: string;
  /** The address without what is secret in it. */
  shown: string;
  /** Text of others without the address and its password. */
  secretsOut: (text: string) => string;
  spool: Spool;
  /** Milliseconds until the time is up; 0 when somebody has stopped it. */
  leftMs(): number;
  isStopped(): boolean;
  signal: AbortSignal | undefined;
  /** Calls back when it is stopped; returns what takes that back. */
  onStop(action: () => void): () => void;
  /** Waits, as long as there is time left. */
  pause(ms: number): Promise<void>;
}

export function beginCapture(options: CameraOptions, spool: Spool, signal: AbortSignal | undefined): Capture {
  const { url } = options;
  const parsed = new URL(url);
  const shown = shownUrl(parsed);
  const secrets = [url, parsed.password, decodeURIComponent(parsed.password), parsed.search].filter(
    (text) => text !== "",
  );
  const end = performance.now() + options.duration_s * 1000;
  const isStopped = (): boolean => signal?.aborted === true;
  const leftMs = (): number => (isStopped() ? 0 : Math.max(0, end - performance.now()));
  return {
    options,
    url,
    shown,
    secretsOut: (text) => secrets.reduce((left, secret) => left.replaceAll(secret, "***"), text),
    spool,
    leftMs,
    isStopped,
    signal,
    onStop(action) {
      if (isStopped()) action();
      signal?.addEventListener("abort", action, { once: true });
      return () => signal?.removeEventListener("abort", action);
    },
    async pause(ms) {
      const wait = Math.min(ms, leftMs());
      if (wait <= 0) return;
      await new Promise<void>((resolve) => {
        const done = (): void => {
          clearTimeout(timer);
          signal?.removeEventListener("abort", done);
          resolve();
        };
        const timer = setTimeout(done, wait);
        signal?.addEventListener("abort", done, { once: true });
      });
    },
  };
}
