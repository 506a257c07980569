"""ONNX Runtime beside `lode encode`: CPU-seconds to embed the lines of a file, in f32 and in dynamic int8.

    PYTHON benches/peers/ort_encode.py MODEL TEXTS WORK [--lode target/release/lode] [--threads 1] [--rounds 3]

MODEL is a sentence-transformers directory of the BERT family (mean pooling, normalised), TEXTS has one text a line,
WORK is a folder for the exported graphs. Needs torch, transformers, onnx and onnxruntime.

What is compared: both sides read the same tokens. ONNX Runtime gets them sorted by length, in batches of 32 padded to
their longest, which is its best case; the time of its tokenizer is left out, that of Lode is in. Rounds alternate,
the median of the CPU time of the process counts. Cosines say how far each is from ONNX Runtime in f32.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("model", type=Path)
parser.add_argument("texts", type=Path)
parser.add_argument("work", type=Path)
parser.add_argument("--lode", type=Path)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--batch", type=int, default=32)
args = parser.parse_args()
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


def graphs():
    args.work.mkdir(parents=True, exist_ok=True)
    plain, fused, int8 = (args.work / name for name in ("model.onnx", "fused.onnx", "int8.onnx"))
    if not plain.exists():
        export(plain)
    if not int8.exists():
        from onnx import TensorProto
        from onnxruntime.quantization import QuantType, quantize_dynamic
        from onnxruntime.transformers import optimizer

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
    out = np.empty((len(tokens), 384), np.float32)
    begun = time.process_time()
    for start in range(0, len(order), args.batch):
        rows = order[start : start + args.batch]
        ids = np.zeros((len(rows), len(tokens[rows[-1]])), np.int64)
        mask = np.zeros_like(ids)
        for at, row in enumerate(rows):
            ids[at, : len(tokens[row])] = tokens[row]
            mask[at, : len(tokens[row])] = 1
        found = run.run(None, {"input_ids": ids, "attention_mask": mask})[0]
        if out.shape[1] != found.shape[1]:
            out = np.empty((len(tokens), found.shape[1]), np.float32)
        out[rows] = found
    return time.process_time() - begun, out


def lode(precision):
    out = args.work / f"{precision}.npy"
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    words = ["encode", args.model, args.texts, "--out", out, "--precision", precision, "-q"]
    subprocess.run([args.lode, *words, "--threads", str(args.threads)], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return seconds, np.load(out)


def main():
    texts = args.texts.read_text(encoding="utf-8").splitlines()
    tokenizer = Tokenizer.from_file(str(args.model / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    tokens = [encoding.ids for encoding in tokenizer.encode_batch(texts)]
    count = sum(map(len, tokens))
    print(f"onnxruntime {onnxruntime.__version__}, {len(texts)} texts, {count} tokens, {args.threads} threads")
    sides = {}
    for name, path in graphs().items():
        sides[f"onnxruntime {name}"] = partial(encode, session(path), tokens)
    for name in ("f32", "int8", "bf16") if args.lode else ():
        sides[f"lode {name}"] = partial(lode, name)
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
            f"{name:<18} {took:7.2f} CPU-s  {count / took:8.0f} tokens/CPU-s  "
            f"cosine mean {cosines.mean():.5f} least {cosines.min():.5f}"
        )


main()
