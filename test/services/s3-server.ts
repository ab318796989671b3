import { type ChildProcess, spawn } from "node:child_process";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { CreateBucketCommand, S3Client } from "@aws-sdk/client-s3";
import { MillraceError } from "../../src/core/index.ts";

/** A server with the API of S3, started by a test. */
export interface S3Server extends AsyncDisposable {
  /** `http://127.0.0.1:port`. */
  endpoint: string;
  accessKey: string;
  secretKey: string;
  /** What a client of the SDK needs to reach it as its owner. */
  client(): S3Client;
  /** Makes a bucket and gives the options of the store `s3` that lead to it. */
  bucket(name: string): Promise<Record<string, unknown> & { bucket: string }>;
  stop(): Promise<void>;
}

/** What the servers have in common, once they listen. */
export function s3Handle(
  endpoint: string,
  [accessKey, secretKey]: readonly [accessKey: string, secretKey: string],
  stop: () => Promise<void>,
): S3Server {
  const client = (): S3Client =>
    new S3Client({
      endpoint,
      region: "us-east-1",
      forcePathStyle: true,
      credentials: { accessKeyId: accessKey, secretAccessKey: secretKey },
    });
  return {
    endpoint,
    accessKey,
    secretKey,
    client,
    async bucket(bucket) {
      const owner = client();
      await owner.send(new CreateBucketCommand({ Bucket: bucket }));
      owner.destroy();
      return {
        bucket,
        endpoint,
        credentials: { access_key_id: accessKey, secret_access_key: secretKey },
      };
    },
    stop,
    [Symbol.asyncDispose]: stop,
  };
}

/** Starts a program and waits until it listens. Gives what ends it. Throws `unreachable` with the end of what it printed. */
export async function startListening(
  service: string,
  port: number,
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv = process.env,
): Promise<() => Promise<void>> {
  let text = "";
  const child: ChildProcess = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], env });
  for (const stream of [child.stdout!, child.stderr!]) {
    stream.on("data", (chunk: Buffer) => (text = (text + chunk.toString()).slice(-4000)));
  }
  let failure: Error | undefined;
  child.once("error", (error) => (failure = error));
  const emergency = (): void => void child.kill("SIGKILL");
  process.once("exit", emergency);
  const stop = async (): Promise<void> => {
    process.off("exit", emergency);
    if (child.exitCode !== null || child.signalCode !== null) return;
    const exited = new Promise((resolve) => child.once("exit", resolve));
    child.kill("SIGKILL");
    await exited;
  };
  for (let attempt = 0; !(await isListening(port)); attempt++) {
    if (failure !== undefined || child.exitCode !== null || attempt > 600) {
      if (failure === undefined) await stop();
      throw new MillraceError("unreachable", `${service} does not start: ${text}`, { cause: failure });
    }
    await sleep(50);
  }
  return stop;
}

async function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
