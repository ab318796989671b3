export { runInSandbox, type SandboxJob, type SandboxOutput } from "./run.ts";
export { listArchive, unpack, type ArchiveEntry, type Container } from "./containers.ts";
