import { dirname, join } from "node:path";
import { freePort } from "./install.ts";
import { pythonEnvironment } from "./python.ts";
import { type S3Server, s3Handle, startListening } from "./s3-server.ts";

/** Starts moto with S3 and STS; it takes every signature. Throws `unreachable` when it cannot be installed. */
export async function startMoto(): Promise<S3Server> {
  const { python } = await pythonEnvironment(["moto[s3,server,sts]==5.2.5"]);
  const port = await freePort();
  const program = join(dirname(python), "moto_server");
  const stop = await startListening("moto", port, program, ["-H", "127.0.0.1", "-p", String(port)]);
  return s3Handle(`http://127.0.0.1:${port}`, ["moto-owner", "moto-c4nary-secret"], stop);
}
