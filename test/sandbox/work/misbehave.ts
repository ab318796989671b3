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
