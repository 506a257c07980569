"""ONNX Runtime (f32 and dynamic int8) and sentence-transformers beside `lode encode`: tokens a CPU-second.

    benches/peers/compare.sh encode [--full] [--texts 20000] [--threads 1] [--rounds 3]

The texts are titles of DATA, or with --full texts of 32 tokens. ONNX Runtime gets tokens sorted by length, in batches of 32
padded to their longest, which is its best case, and the time of its tokenizer is left out; sentence-transformers sorts by
itself. With Lode the whole command counts: start, tokenizing, encoding, the file. Rounds alternate, medians of the processor
time count. Cosines say how far each is from ONNX Runtime in f32.
"""

import argparse
import gzip
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--model", type=Path, default=os.environ.get("MODEL"))
parser.add_argument("--data", type=Path, default=os.environ.get("DATA"))
parser.add_argument("--texts", type=int, default=20_000)
parser.add_argument("--full", action="store_true")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--batch", type=int, default=32)
args = parser.parse_args()
LODE = Path(__file__).resolve().parents[2] / "target" / "release" / "lode"
os.environ["OMP_NUM_THREADS"] = str(args.threads)

import numpy as np
import onnxruntime
from tokenizers import Tokenizer


def export(path):
    """The encoder, mean pooling and normalisation as one graph."""
    import torch
    from transformers import AutoModel

    class Embed(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.bert = AutoModel.from_pretrained(args.model, attn_implementation="eager").eval()

        def forward(self, input_ids, attention_mask):
            hidden = self.bert(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            mask = attention_mask.unsqueeze(-1).to(hidden.dtype)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            return mean / mean.norm(dim=1, keepdim=True)

    ids = torch.randint(1000, 2000, (2, 16))
    names = ["input_ids", "attention_mask"]
    axes = {name: {0: "batch", 1: "tokens"} for name in names} | {"embedding": {0: "batch"}}
    with torch.no_grad():
        torch.onnx.export(
            Embed(), (ids, torch.ones_like(ids)), path, input_names=names, output_names=["embedding"],
            dynamic_axes=axes, opset_version=17, dynamo=False,
        )


def graphs(work):
    from onnx import TensorProto
    from onnxruntime.quantization import QuantType, quantize_dynamic
    from onnxruntime.transformers import optimizer

    plain, fused, int8 = (work / name for name in ("model.onnx", "fused.onnx", "int8.onnx"))
    export(plain)
    # Attention, GELU and layer norm as the fused operators that published int8 files have.
    config = json.loads((args.model / "config.json").read_text())
    sizes = {"num_heads": config["num_attention_heads"], "hidden_size": config["hidden_size"]}
    optimizer.optimize_model(str(plain), "bert", **sizes, opt_level=1).save_model_to_file(str(fused))
    float32 = {"DefaultTensorType": TensorProto.FLOAT}
    quantize_dynamic(fused, int8, weight_type=QuantType.QInt8, extra_options=float32)
    return {"f32": fused, "int8": int8}


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = args.threads
    options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def encode(run, tokens):
    order = sorted(range(len(tokens)), key=lambda i: len(tokens[i]))
    out, begun = [None] * len(tokens), time.process_time()
    for start in range(0, len(order), args.batch):
        rows = order[start : start + args.batch]
        ids = np.zeros((len(rows), len(tokens[rows[-1]])), np.int64)
        mask = np.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(tokens[row])] = tokens[row]
            mask[at, : len(tokens[row])] = 1
        for row, embedding in zip(rows, run.run(None, {"input_ids": ids, "attention_mask": mask})[0]):
            out[row] = embedding
    return time.process_time() - begun, np.stack(out)


def sentence_transformers(texts):
    import torch
    from sentence_transformers import SentenceTransformer

    torch.set_num_threads(args.threads)
    model = SentenceTransformer(str(args.model), device="cpu")

    def run():
        begun = time.process_time()
        found = model.encode(texts, batch_size=args.batch, show_progress_bar=False)
        return time.process_time() - begun, found

    return run


def lode(work, precision):
    out = work / f"{precision}.npy"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ["encode", args.model, work / "texts", "--out", out, "--precision", precision, "-q"]
    subprocess.run([LODE, *words, "--threads", str(args.threads)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, np.load(out)


def read():
    """Texts of one line each."""
    if args.full:
        words = "water engine history music forest market theory bridge island metal".split()
        return [" ".join(words[(i * 7 + j * (1 + i % 5)) % 10] for j in range(30)) for i in range(args.texts)]
    lines = (json.loads(line)["title"] for line in gzip.open(args.data / "trn.jsonl.gz", "rt"))
    return [" ".join(title.split()) for title, _ in zip(lines, range(args.texts))]


def main(work):
    texts = read()
    (work / "texts").write_text("".join(f"{text}\n" for text in texts), encoding="utf8")
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    tokens = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    count = sum(map(len, tokens))
    print(f"onnxruntime {onnxruntime.__version__}, {len(texts)} texts, {count} tokens, {args.threads} threads")
    sides = {}
    for name, path in graphs(work).items():
        sides[f"onnxruntime {name}"] = partial(encode, session(path), tokens)
    sides["sentence-transformers"] = sentence_transformers(texts)
    for name in ("f32", "int8", "bf16"):
        sides[f"lode {name}"] = partial(lode, work, name)
    seconds, first = {name: [] for name in sides}, {}
    for _ in range(args.rounds):
        for name, side in sides.items():
            took, first[name] = side()
            seconds[name].append(took)
            print(f"  {name} {took:.2f}", file=sys.stderr)
    exact = first["onnxruntime f32"]
    for name, all_seconds in seconds.items():
        took, cosines = statistics.median(all_seconds), (first[name] * exact).sum(1)
        print(
            f"{name:<22} {took:7.2f} CPU-s  {count / took:8.0f} tokens/CPU-s  "
            f"cosine mean {cosines.mean():.5f} least {cosines.min():.5f}"
        )
    for ours, theirs in (("f32", "onnxruntime f32"), ("f32", "sentence-transformers"), ("int8", "onnxruntime int8")):
        ratios = [b / a for a, b in zip(seconds[f"lode {ours}"], seconds[theirs])]
        print(f"lode {ours} / {theirs}: {statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f})")


with tempfile.TemporaryDirectory() as folder:
    main(Path(folder))
