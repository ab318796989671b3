import { execFileSync } from "node:child_process";
import { chmodSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { findProgram } from "../services/install.ts";
import { startMariadb, type Mariadb } from "../services/mariadb.ts";
import { errorOf, openMysql, readAll } from "./mysql-support.ts";

const openssl = findProgram({ name: "openssl" });

/** A certificate that is its own authority. */
function makeCertificate(folder: string, name: string, subjects: string): { key: string; certificate: string } {
  const [key, certificate] = [join(folder, `${name}.key`), join(folder, `${name}.crt`)];
  const kind = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-days", "2", "-nodes"];
  const subject = ["-subj", "/CN=millrace-test", "-addext", `subjectAltName=${subjects}`];
  execFileSync(openssl!, ["req", "-x509", ...kind, ...subject, "-keyout", key, "-out", certificate], { stdio: "pipe" });
  chmodSync(key, 0o644);
  return { key, certificate };
}

describe.skipIf(openssl === undefined)("encryption", () => {
  let server: Mariadb;
  let folder: string;
  const ca = (name: string): string => join(folder, `${name}.crt`);

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "millrace-tls-"));
    chmodSync(folder, 0o755);
    makeCertificate(folder, "address", "IP:127.0.0.1");
    makeCertificate(folder, "other", "IP:127.0.0.1,DNS:localhost");
    const { key, certificate } = makeCertificate(folder, "name", "DNS:localhost");
    server = await startMariadb([`--ssl-cert=${certificate}`, `--ssl-key=${key}`]);
  });
  afterAll(async () => {
    await server.stop();
    rmSync(folder, { recursive: true, force: true });
  });

  const cipherOf = async (options: Record<string, unknown>): Promise<string> => {
    const { host, port, user, password, database } = server;
    await using source = await openMysql({ host, port, user, password, database, ...options });
    const query =
      "SELECT VARIABLE_VALUE AS v FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME = 'Ssl_cipher'";
    return (await readAll(source, { query })).rows[0]![0] ?? "";
  };

  test("`prefer` and `require` encrypt, `disable` does not", async () => {
    expect(await cipherOf({})).toMatch(/^TLS_/);
    expect(await cipherOf({ ssl: "require" })).toMatch(/^TLS_/);
    expect(await cipherOf({ ssl: "disable" })).toBe("");
  });

  test("`verify-ca` trusts what its authority signed, whatever the name", async () => {
    expect(await cipherOf({ ssl: "verify-ca", ca: ca("name") })).toMatch(/^TLS_/);
    expect(await errorOf(() => cipherOf({ ssl: "verify-ca" }))).toMatchObject({
      code: "authentication",
      hint: expect.stringContaining("`ca`"),
    });
    expect((await errorOf(() => cipherOf({ ssl: "verify-ca", ca: ca("other") }))).code).toBe("authentication");
  });

  test("`verify-full` wants the name that was asked for, or the address", async () => {
    const named = { ssl: "verify-full", ca: ca("name") };
    expect(await cipherOf({ ...named, host: "localhost" })).toMatch(/^TLS_/);
    expect((await errorOf(() => cipherOf({ ...named, host: "127.0.0.1" }))).code).toBe("authentication");
    await using second = await startMariadb([
      `--ssl-cert=${ca("address")}`,
      `--ssl-key=${join(folder, "address.key")}`,
    ]);
    const { url } = second;
    await using source = await openMysql({
      url: `${url}?ssl-mode=VERIFY_IDENTITY&ssl-ca=${encodeURIComponent(ca("address"))}`,
    });
    await source.check();
    const byName = await openMysql({
      url: `${url.replace("127.0.0.1", "localhost")}?ssl-mode=verify_identity&ssl-ca=${ca("address")}`,
    });
    expect((await errorOf(() => byName.check())).code).toBe("authentication");
  });

  test("an abort stops the server over an encrypted connection too", async () => {
    const { host, port, user, password, database } = server;
    await using source = await openMysql({ host, port, user, password, database, ssl: "require" });
    const request = { query: "SELECT SLEEP(20) AS n" };
    const plan = await source.plan(request, {});
    const controller = new AbortController();
    const payload = await source.read(plan.parts[0]!, request, { signal: controller.signal });
    if (payload.form !== "bytes") throw new Error(payload.form);
    const started = performance.now();
    setTimeout(() => controller.abort(), 100);
    const error = await errorOf(async () => {
      for await (const chunk of payload.chunks) expect(chunk.byteLength).toBe(0);
    });
    expect(error.code).toBe("aborted");
    expect(performance.now() - started).toBeLessThan(1_500);
  });
});
