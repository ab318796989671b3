import { execFileSync } from "node:child_process";
import { accessSync, constants, mkdirSync, mkdtempSync, rmdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "vitest";
import { messageOf } from "../../src/core/index.ts";
import { requireProgram } from "../services/install.ts";
import { recordSkip } from "./trust.ts";

/** Programs that apt-get can install. In CI their absence is a failure. */
const programs = {
  strace: ["strace"],
  faketime: ["faketime"],
  "mkfs.ext4": ["e2fsprogs"],
} as const;

/** What a machine may forbid even where every program is there: tests that need it are skipped by name. */
const permissions = {
  ptrace(): void {
    execFileSync("strace", ["-f", "-qq", "-o", "/dev/null", "true"], { stdio: "pipe" });
  },
  tmpfs(): void {
    const folder = mkdtempSync(join(tmpdir(), "millrace-probe-"));
    try {
      execFileSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", folder], { stdio: "pipe" });
      execFileSync("umount", [folder], { stdio: "pipe" });
    } finally {
      rmdirSync(folder);
    }
  },
  "loop devices"(): void {
    const folder = mkdtempSync(join(tmpdir(), "millrace-probe-"));
    const [image, place] = [join(folder, "image"), join(folder, "place")];
    try {
      writeFileSync(image, "");
      truncateSync(image, 2 ** 21);
      mkdirSync(place);
      execFileSync("mkfs.ext4", ["-q", "-F", image], { stdio: "pipe" });
      execFileSync("mount", ["-o", "loop", image, place], { stdio: "pipe" });
      execFileSync("umount", [place], { stdio: "pipe" });
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
  "memory cgroups"(): void {
    const folder = memoryGroupFolder(`millrace-probe-${process.pid}`);
    mkdirSync(folder);
    try {
      accessSync(join(folder, "memory.limit_in_bytes"), constants.W_OK);
    } finally {
      rmdirSync(folder);
    }
  },
} as const;

/** Folder of a memory cgroup (version 1). */
export function memoryGroupFolder(name: string): string {
  return join("/sys/fs/cgroup/memory", name);
}

export type Need = keyof typeof programs | keyof typeof permissions;

/** Why this machine cannot give what a test needs; undefined when it can. Installs what is missing, as root. */
async function lacking(needs: readonly Need[]): Promise<string | undefined> {
  for (const need of needs) {
    try {
      if (need in programs) {
        const packages = programs[need as keyof typeof programs];
        await requireProgram({ service: need, name: need, packages });
      } else permissions[need as keyof typeof permissions]();
    } catch (error) {
      // What apt-get has must be there in CI; what a sandbox forbids, nobody can mend.
      if (need in programs && process.env["CI"] === "true") throw error;
      return need in programs ? messageOf(error) : `no ${need}`;
    }
  }
  return undefined;
}

/** `test`, or a `test` that is skipped with the reason in its name and in the report. */
export async function testWith(...needs: Need[]): Promise<typeof test> {
  const reason = await lacking(needs);
  if (reason === undefined) return test;
  const skipped = (name: string, ...rest: unknown[]): void => {
    void rest;
    recordSkip(name, reason);
    test.skip(`${name} (skipped: ${reason})`, () => undefined);
  };
  const each =
    (cases: readonly unknown[]) =>
    (name: string): void =>
      skipped(`${name} (${cases.length} cases)`);
  return Object.assign(skipped, { each }) as unknown as typeof test;
}
