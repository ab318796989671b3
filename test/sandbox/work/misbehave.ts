import { execFileSync, spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { connect } from "node:net";

/** Does what hostile bytes make parsers do. */
export default async function* misbehave(how: string, argument: number | string): AsyncGenerator<unknown> {
  switch (how) {
    case "count":
      yield { begin: argument };
      for (let index = 0; index < Number(argument); index++) yield Buffer.alloc(1024, index & 0xff);
      yield { end: argument };
      return;
    case "hang":
      yield Buffer.from("some");
      for (;;);
    case "hoard": {
      const hoard: string[] = [];
      for (let index = 0; ; index++) hoard.push(`${index}`.repeat(1000) + Math.random());
    }
    case "allocate": {
      const hoard: Buffer[] = [];
      for (;;) hoard.push(Buffer.alloc(64 * 1024 * 1024, 1));
    }
    case "exit":
      yield Buffer.from("some");
      process.exit(Number(argument));
    case "kill":
      process.kill(process.pid, "SIGSEGV");
      await new Promise(() => undefined);
      return;
    case "abort":
      process.abort();
    case "overflow": {
      const deeper = (depth: number): number => 1 + deeper(depth + 1);
      deeper(0);
      return;
    }
    case "gigabytes":
      // More than the cap at once, touched.
      yield { length: Buffer.alloc(4 * 1024 ** 3 - 1, 1).length };
      return;
    case "unawaited":
      void Promise.reject(new Error("rejected where nobody waits"));
      yield { late: true };
      return;
    case "pollute":
      (Object.prototype as Record<string, unknown>)["polluted"] = true;
      yield { polluted: process.pid };
      return;
    case "who":
      yield { pid: process.pid, polluted: ({} as Record<string, unknown>)["polluted"] === true };
      return;
    case "forge": {
      // A frame that says it has 2 GiB.
      process.stdout.write(Buffer.from([1, 0x7f, 0xff, 0xff, 0xff]));
      await new Promise(() => undefined);
      return;
    }
    case "fetch":
      await fetch(String(argument));
      yield { fetched: true };
      return;
    case "pipe":
      await new Promise((resolve, reject) => {
        connect(String(argument)).once("connect", resolve).once("error", reject);
      });
      yield { connected: true };
      return;
    case "hang-below": {
      const child = spawn("sleep", ["600"], { stdio: "ignore" });
      yield { pid: child.pid };
      await new Promise(() => undefined);
      return;
    }
    case "leave-below": {
      yield { pid: spawn("sleep", ["600"], { stdio: "ignore" }).pid };
      process.kill(process.pid, "SIGSEGV");
      await new Promise(() => undefined);
      return;
    }
    case "limits-below":
      yield { limits: execFileSync("cat", ["/proc/self/limits"], { encoding: "utf8" }) };
      yield { environment: execFileSync("env", { encoding: "utf8" }) };
      yield { interfaces: execFileSync("cat", ["/proc/net/dev"], { encoding: "utf8" }) };
      return;
    case "spawn":
      execFileSync("true");
      yield { spawned: true };
      return;
    case "own":
      writeFileSync("scratch", "mine");
      yield { cwd: process.cwd(), text: readFileSync("scratch", "utf8") };
      return;
    case "reject":
      setTimeout(() => {
        throw new Error("thrown where nobody catches");
      });
      await new Promise((resolve) => setTimeout(resolve, 1000));
      return;
    case "throw":
      throw new Error(String(argument));
    case "trip":
      (undefined as unknown as { toLowerCase(): void }).toLowerCase();
      return;
    case "print":
      console.log("not a frame");
      yield Buffer.from("printed");
      return;
    case "environment":
      yield { environment: Object.keys(process.env) };
      return;
    case "write":
      writeFileSync(String(argument), "written");
      return;
    case "read":
      yield readFileSync(String(argument));
      return;
    case "connect":
      await new Promise((resolve, reject) => {
        connect(Number(argument), "127.0.0.1").once("connect", resolve).once("error", reject);
      });
      yield { connected: true };
  }
}
