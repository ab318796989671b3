import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pythonEnvironment, runPython } from "./python.ts";

/** Small models, written by the `onnx` package, and what Python says of inputs. */
export interface OnnxModels extends AsyncDisposable {
  folder: string;
  /** Vectors of texts by ONNX Runtime and the `tokenizers` of Python; `maximum` tokens. */
  texts(texts: readonly string[], options: { maximum: number; pooling: string }): Promise<number[][]>;
  /** Vectors of images, given as red, green and blue of a byte, of 8 × 6 pixels. */
  images(pixels: readonly Uint8Array[]): Promise<number[][]>;
}

const setup = `
import json, sys
import numpy as np, onnx
from onnx import TensorProto as T, helper as h, numpy_helper as n
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
folder, seed = sys.argv[1], int(sys.argv[2])
random = np.random.default_rng(seed)
words = "[PAD] [UNK] [CLS] [SEP] the quick brown fox jump ##s ##ed over lazy dog , . é 東 京".split()
tokenizer = Tokenizer(models.WordPiece({w: i for i, w in enumerate(words)}, unk_token="[UNK]"))
tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=False)
tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
tokenizer.save(f"{folder}/tokenizer.json")
def const(name, a): return n.from_array(a.astype(np.float32), name)
def save(name, nodes, inputs, outputs, constants):
    m = h.make_model(h.make_graph(nodes, name, inputs, outputs, constants), opset_imports=[h.make_opsetid("", 17)])
    m.ir_version = 8
    onnx.checker.check_model(m)
    onnx.save(m, f"{folder}/{name}.onnx")
ids = h.make_tensor_value_info("input_ids", T.INT64, ["n", "t"])
mask = h.make_tensor_value_info("attention_mask", T.INT64, ["n", "t"])
kind = h.make_tensor_value_info("token_type_ids", T.INT64, ["n", "t"])
hidden = h.make_tensor_value_info("last_hidden_state", T.FLOAT, ["n", "t", 5])
save("text", [
    h.make_node("Gather", ["table", "input_ids"], ["words"]),
    h.make_node("Gather", ["kinds", "token_type_ids"], ["sorts"]),
    h.make_node("Add", ["words", "sorts"], ["both"]),
    h.make_node("MatMul", ["both", "weights"], ["last_hidden_state"]),
], [ids, mask, kind], [hidden], [const("table", random.normal(size=(len(words), 7))), const("kinds", random.normal(size=(2, 7))), const("weights", random.normal(size=(7, 5)))])
save("image", [
    h.make_node("Conv", ["pixel_values", "kernel"], ["maps"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    h.make_node("Relu", ["maps"], ["positive"]),
    h.make_node("GlobalAveragePool", ["positive"], ["means"]),
    h.make_node("Flatten", ["means"], ["image_embeds"]),
], [h.make_tensor_value_info("pixel_values", T.FLOAT, ["n", 3, "y", "x"])],
   [h.make_tensor_value_info("positive", T.FLOAT, ["n", 6, "y", "x"]), h.make_tensor_value_info("image_embeds", T.FLOAT, ["n", 6])],
   [const("kernel", random.normal(size=(6, 3, 3, 3)))])
`;

const oracle = `
import json, sys
import numpy as np, onnxruntime as ort
from tokenizers import Tokenizer
folder, job = sys.argv[1], json.loads(sys.argv[2])
def unit(v): return v / np.linalg.norm(v)
out = []
if "texts" in job:
    session = ort.InferenceSession(f"{folder}/text.onnx")
    tokenizer = Tokenizer.from_file(f"{folder}/tokenizer.json")
    tokenizer.enable_truncation(job["maximum"])
    for text in job["texts"]:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        v = session.run(["last_hidden_state"], {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)})[0][0]
        out.append(unit(v.astype(np.float64).mean(0) if job["pooling"] == "mean" else v[0]).tolist())
else:
    session = ort.InferenceSession(f"{folder}/image.onnx")
    for values in job["images"]:
        a = np.array(values, dtype=np.float64).reshape(6, 8, 3) / 255
        a = (a - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])
        out.append(unit(session.run(["image_embeds"], {"pixel_values": a.transpose(2, 0, 1)[None].astype(np.float32)})[0][0]).tolist())
print(json.dumps(out))
`;

/** Writes the models. Throws `unreachable` when the packages cannot be installed. */
export async function onnxModels(seed = 7): Promise<OnnxModels> {
  const environment = await pythonEnvironment([
    "numpy==2.3.5",
    "onnx==1.19.1",
    "onnxruntime==1.23.2",
    "tokenizers==0.22.1",
  ]);
  const folder = await mkdtemp(join(tmpdir(), "millrace-onnx-"));
  await runPython(environment, setup, [folder, String(seed)]);
  const ask = async (job: object): Promise<number[][]> =>
    JSON.parse(await runPython(environment, oracle, [folder, JSON.stringify(job)])) as number[][];
  return {
    folder,
    texts: (texts, options) => ask({ texts, ...options }),
    images: (pixels) => ask({ images: pixels.map((one) => [...one]) }),
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
