import { freePort } from "./install.ts";
import { pythonEnvironment } from "./python.ts";
import { type S3Server, s3Handle, startListening } from "./s3-server.ts";

/** Starts moto with S3 and STS; it takes every signature. Throws `unreachable` when it cannot be installed. */
export async function startMoto(): Promise<S3Server> {
  const { python } = await pythonEnvironment(["moto[s3,server,sts]==5.2.5"]);
  const port = await freePort();
  // By its module: the script beside the interpreter stops working when the folder is moved.
  const args = ["-m", "moto.server", "-H", "127.0.0.1", "-p", String(port)];
  const stop = await startListening("moto", port, python, args);
  return s3Handle(`http://127.0.0.1:${port}`, ["moto-owner", "moto-c4nary-secret"], stop);
}
