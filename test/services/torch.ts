import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { MillraceError, messageOf } from "../../src/core/index.ts";
import { requirePackages } from "./install.ts";
import { pythonEnvironment, type PythonEnvironment } from "./python.ts";

/** The interpreter whose packages Debian ships. */
const systemPython = "/usr/bin/python3";

/**
 * Python with PyTorch for the CPU, pyarrow and torchdata. PyTorch is Debian's (120 MB): that of PyPI needs CUDA, of several gigabytes.
 * Throws `unreachable` where it cannot be had.
 */
export async function torchEnvironment(): Promise<PythonEnvironment> {
  const importTorch = (): Promise<unknown> => promisify(execFile)(systemPython, ["-c", "import torch"]);
  try {
    await importTorch();
  } catch {
    await requirePackages("PyTorch", ["python3-torch", "python3-venv"]);
    await importTorch().catch((cause: unknown) => {
      throw new MillraceError("unreachable", `PyTorch cannot be had: ${messageOf(cause)}`, { cause });
    });
  }
  return pythonEnvironment(["pyarrow==21.0.0"], ["torchdata==0.11.0"], systemPython);
}
