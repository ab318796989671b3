import { execFile } from "node:child_process";
import { existsSync, mkdirSync, renameSync, rmSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { MillraceError, messageOf } from "../../src/core/index.ts";
import { findProgram, freePort } from "./install.ts";
import { type S3Server, s3Handle, startListening } from "./s3-server.ts";

const version = "1.8.0";
const cacheFolder = fileURLToPath(new URL("../../.cache", import.meta.url));
const keys = ["versity-owner", "versity-c4nary-secret"] as const;

/** Starts Versity S3 Gateway over a temporary folder. Throws `unreachable` when it can neither be found nor built. */
export async function startVersitygw(): Promise<S3Server> {
  const program = findProgram({ name: "versitygw" }) ?? (await build());
  const folder = await mkdtemp(join(tmpdir(), "millrace-versitygw-"));
  const port = await freePort();
  const stop = await startListening(
    "Versity S3 Gateway",
    port,
    program,
    ["--port", `127.0.0.1:${port}`, "--keep-alive", "--quiet", "posix", folder],
    { PATH: process.env["PATH"], ROOT_ACCESS_KEY: keys[0], ROOT_SECRET_KEY: keys[1] },
  );
  return s3Handle(`http://127.0.0.1:${port}`, keys, async () => {
    await stop();
    rmSync(folder, { recursive: true, force: true });
  });
}

/** Built once with Go from the module proxy and kept in `.cache`. */
async function build(): Promise<string> {
  const target = join(cacheFolder, `versitygw-${version}`);
  const program = join(target, "versitygw");
  if (existsSync(program)) return program;
  const go = findProgram({ name: "go", folders: ["/usr/local/go/bin"] });
  if (go === undefined) {
    throw new MillraceError("unreachable", "Versity S3 Gateway cannot be had: `go` is not on this machine", {
      hint: `go install github.com/versity/versitygw/cmd/versitygw@v${version}`,
    });
  }
  const temporary = `${target}-${process.pid}`;
  mkdirSync(temporary, { recursive: true });
  try {
    await promisify(execFile)(go, ["install", `github.com/versity/versitygw/cmd/versitygw@v${version}`], {
      env: { ...process.env, GOBIN: temporary, CGO_ENABLED: "0", GOFLAGS: "-trimpath" },
      maxBuffer: 1 << 24,
    });
    mkdirSync(target, { recursive: true });
    renameSync(join(temporary, "versitygw"), program);
    return program;
  } catch (cause) {
    throw new MillraceError("unreachable", `Versity S3 Gateway cannot be built with go: ${messageOf(cause)}`, {
      cause,
    });
  } finally {
    rmSync(temporary, { recursive: true, force: true });
  }
}
