import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, test } from "vitest";
import { inScratch } from "../faults/sweep.ts";
import { millrace, millraceArguments } from "./millrace.ts";

test(
  "`run --watch` makes versions as files come, tells Prometheus, and ends well on SIGTERM",
  { timeout: 60_000 },
  () =>
    inScratch(async (folder) => {
      mkdirSync(join(folder, "in"));
      writeFileSync(
        join(folder, "millrace.yaml"),
        "store: ./lake\nflows:\n  orders:\n    from: { path: 'in/*.csv' }\n    checks:\n      - { check: range, column: price, min: 0, on_fail: reject }\n",
      );
      writeFileSync(join(folder, "in", "1.csv"), "id,price\n1,2.5\n2,-1\n");
      const child = spawn(
        process.execPath,
        millraceArguments(["run", "orders", "--watch", "--every", "0.1s", "--metrics", "0", "--json"]),
        { cwd: folder, stdio: ["ignore", "pipe", "pipe"] },
      );
      const closed = new Promise<number | null>((resolve) => child.once("close", resolve));
      const reports = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
      const next = async (): Promise<Record<string, unknown>> =>
        JSON.parse((await reports.next()).value ?? "{}") as Record<string, unknown>;
      const begun = await next();
      const metrics = begun["metrics"] as string;
      expect(begun).toEqual({ watching: ["orders"], metrics });
      expect(await next()).toMatchObject({ status: "published", version: 1, written: 1, rejected: 1 });
      writeFileSync(join(folder, "in", "2.csv"), "id,price\n3,4.5\n");
      expect(await next()).toMatchObject({ status: "published", version: 2, written: 1 });
      const text = await (await fetch(metrics)).text();
      expect(text).toContain(
        '# TYPE millrace_flow_rows_total counter\nmillrace_flow_rows_total{flow="orders",outcome="written"} 2\n',
      );
      expect(text).toContain('millrace_flow_rows_total{flow="orders",outcome="rejected"} 1\n');
      expect(text).toContain('millrace_flow_version{flow="orders"} 2\n');
      expect((await fetch(metrics.replace("/metrics", "/other"))).status).toBe(404);
      child.kill("SIGTERM");
      expect(await closed).toBe(0);

      const status = await millrace(folder, ["status", "--json"]);
      expect(JSON.parse(status.stdout)).toMatchObject({ flows: [{ flow: "orders", version: 2, rows: 2 }] });
      expect((await millrace(folder, ["status"])).stdout).toMatch(
        /orders\s+orders@2\s+2\s+\S.* ago\s+2 rows in 2 versions/,
      );
      const wrong = await millrace(folder, ["run", "orders", "--every", "1s"]);
      expect(wrong.code).toBe(2);
      expect(wrong.stderr).toContain("add --watch");
    }),
);
