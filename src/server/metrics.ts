import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { MillraceError, type Lag } from "../core/index.ts";
import type { RunReport } from "../pipeline/index.ts";

interface Facts {
  runs: Record<RunReport["status"], number>;
  rows: { written: number; rejected: number; filtered: number };
  bytes: number;
  seconds: number;
  retries: number;
  isUp: boolean;
  version?: number;
  committed?: number;
  lag?: Lag;
}

/** What flows do, in the text format of Prometheus (https://prometheus.io/docs/instrumenting/exposition_formats/). */
export interface FlowMetrics {
  report(report: RunReport): void;
  problem(flow: string): void;
  lag(flow: string, lag: Lag): void;
  text(): string;
}

export function flowMetrics(flows: readonly string[]): FlowMetrics {
  const facts = new Map<string, Facts>(
    flows.map((flow) => [
      flow,
      {
        runs: { published: 0, unchanged: 0, failed: 0 },
        rows: { written: 0, rejected: 0, filtered: 0 },
        bytes: 0,
        seconds: 0,
        retries: 0,
        isUp: true,
      },
    ]),
  );
  return {
    report(report) {
      const own = facts.get(report.flow)!;
      own.runs[report.status]++;
      own.isUp = report.status !== "failed";
      if (report.status !== "published") return;
      own.rows.written += report.written;
      own.rows.rejected += report.rejected;
      own.rows.filtered += report.filtered;
      own.bytes += report.bytesRead;
      own.seconds += report.seconds;
      own.committed = Date.now() / 1000;
      if (report.version !== undefined) own.version = report.version;
    },
    problem(flow) {
      const own = facts.get(flow)!;
      own.retries++;
      own.isUp = false;
    },
    lag(flow, lag) {
      facts.get(flow)!.lag = lag;
    },
    text() {
      const lines: string[] = [];
      const metric = (
        name: string,
        kind: "counter" | "gauge",
        help: string,
        values: (own: Facts) => Record<string, number | undefined>,
        label?: string,
      ): void => {
        const found = [...facts].flatMap(([flow, own]) =>
          Object.entries(values(own))
            .filter(([, value]) => value !== undefined)
            .map(
              ([key, value]) => `${name}{flow="${flow}"${label === undefined ? "" : `,${label}="${key}"`}} ${value}`,
            ),
        );
        if (found.length > 0) lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${kind}`, ...found);
      };
      metric("millrace_flow_up", "gauge", "1 while the flow goes on, 0 while it waits to try again.", (own) => ({
        up: own.isUp ? 1 : 0,
      }));
      metric("millrace_flow_runs_total", "counter", "Runs, by how they ended.", (own) => own.runs, "status");
      metric("millrace_flow_retries_total", "counter", "Failures that are tried again.", (own) => ({ n: own.retries }));
      metric("millrace_flow_rows_total", "counter", "Rows, by what became of them.", (own) => own.rows, "outcome");
      metric("millrace_flow_read_bytes_total", "counter", "Bytes read from the source.", (own) => ({ n: own.bytes }));
      metric("millrace_flow_run_seconds_total", "counter", "Time spent on runs that made a version.", (own) => ({
        n: own.seconds,
      }));
      metric("millrace_flow_version", "gauge", "The newest version.", (own) => ({ n: own.version }));
      metric("millrace_flow_last_commit_timestamp_seconds", "gauge", "When the newest version was made.", (own) => ({
        n: own.committed,
      }));
      metric("millrace_flow_lag_records", "gauge", "Records that no version has yet.", (own) => ({
        n: own.lag?.records,
      }));
      metric("millrace_flow_lag_bytes", "gauge", "Bytes that no version has yet.", (own) => ({ n: own.lag?.bytes }));
      metric("millrace_flow_lag_seconds", "gauge", "Age of the oldest record that no version has.", (own) => ({
        n: own.lag?.seconds,
      }));
      lines.push(
        "# HELP process_resident_memory_bytes Memory of the process.",
        "# TYPE process_resident_memory_bytes gauge",
        `process_resident_memory_bytes ${process.memoryUsage.rss()}`,
      );
      return `${lines.join("\n")}\n`;
    },
  };
}

/** `9464`, or `0.0.0.0:9464`. Throws `usage`. */
export function parseAddress(text: string): { host: string; port: number } {
  const match = /^(?:(.+):)?(\d{1,5})$/.exec(text);
  if (!match || Number(match[2]) > 65_535) {
    throw new MillraceError("usage", `\`${text}\` is not a port`, { hint: "such as `9464`, or `0.0.0.0:9464`" });
  }
  return { host: (match[1] ?? "127.0.0.1").replace(/^\[(.*)\]$/, "$1"), port: Number(match[2]) };
}

/** `GET /metrics`, and `GET /health`, which answers for as long as the process can. Port 0: a free one. Throws `usage`. */
export async function serveMetrics(
  text: () => string,
  { host, port }: { host: string; port: number },
): Promise<{ url: string } & AsyncDisposable> {
  const server = createServer({ headersTimeout: 10_000, requestTimeout: 10_000 }, (request, response) => {
    const headers = { "x-content-type-options": "nosniff", "cache-control": "no-store" };
    const path = request.url?.split("?")[0];
    if (request.method !== "GET" || (path !== "/metrics" && path !== "/health")) {
      response.writeHead(request.method === "GET" ? 404 : 405, headers).end();
      return;
    }
    const type = path === "/metrics" ? "text/plain; version=0.0.4; charset=utf-8" : "text/plain; charset=utf-8";
    response.writeHead(200, { ...headers, "content-type": type }).end(path === "/metrics" ? text() : "ok\n");
  });
  server.maxConnections = 64;
  server.listen({ host, port });
  try {
    await once(server, "listening");
  } catch (cause) {
    throw new MillraceError("usage", `metrics cannot be served at \`${host}:${port}\``, {
      cause,
      hint: "choose another port with --metrics",
    });
  }
  const { port: own } = server.address() as AddressInfo;
  return {
    url: `http://${host.includes(":") ? `[${host}]` : host}:${own}/metrics`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
