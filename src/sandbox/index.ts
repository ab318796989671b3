export { runInSandbox, type SandboxJob, type SandboxOutput } from "./run.ts";
export { deathReason, type DeathReason } from "./deaths.ts";
export { findPrograms } from "./programs.ts";
export { sandboxCounts } from "./pool.ts";
export { listArchive, unpack, type ArchiveEntry, type Container } from "./containers.ts";
