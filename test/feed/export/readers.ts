import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pythonEnvironment, runPython, type PythonEnvironment } from "../../services/python.ts";

const here = import.meta.dirname;

/** The readers that exports are held to. MosaicML's and WebDataset's do not need PyTorch to read, though they say so. */
export const readers = (): Promise<PythonEnvironment> =>
  pythonEnvironment(
    [
      "absl-py==2.3.1",
      "braceexpand==0.1.7",
      "brotli==1.1.0",
      "catalogue==2.0.10",
      "crc32c==2.7.1",
      "etils[epath]==1.13.0",
      "filelock==3.19.1",
      "jinja2==3.1.6",
      "jsonpath-rw==1.4.0",
      "networkx==3.5",
      "numpy==2.1.3",
      "pandas==2.3.3",
      "pillow==11.3.0",
      "protobuf==5.29.5",
      "pyarrow==21.0.0",
      "python-dateutil==2.9.0.post0",
      "pyyaml==6.0.3",
      "rdflib==7.2.1",
      "requests==2.32.5",
      "scipy==1.16.2",
      "tqdm==4.67.1",
      "xxhash==3.6.0",
      "zstd==1.5.7.2",
    ],
    ["mlcroissant==1.1.1", "mosaicml-streaming==0.13.0", "tfrecord==1.14.6", "webdataset==1.0.2"],
  );

/** Runs one of the scripts beside this file. */
export async function readWith(python: PythonEnvironment, script: string, ...args: string[]): Promise<string> {
  return runPython(python, await readFile(join(here, script), "utf8"), args, { PYTHONPATH: here });
}
