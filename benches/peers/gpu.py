#!/usr/bin/env python3
"""A training step, a step over all labels, encoding and exact search on a CUDA device, Lode beside PyTorch, as one
table. Start it by benches/gpu-day.sh, which has built what is run.

Sides take turns, and the median of their rates counts. Texts are 32 tokens each, the model is that of --model. The step
is that of `compare.py step`. Lode multiplies by its own kernels and, where --gemm names it, by cuBLAS. Its encoding is
the whole command, with its start, tokenizing and the file; PyTorch's is tokenizing and encoding alone, in batches of 256.
PyTorch's first steps are not counted, nor are those of Lode over all labels; of its training all are. Items of the search,
and label weights, lie on the device before either side starts; weights of bf16 are rounded by chance in Lode, to the
nearest in PyTorch.
"""
import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.dont_write_bytecode = True
from compare import HERE, LODE, WORKS, last_json, prepared, texts, unit_rows

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--model", type=Path, default=os.environ.get("MODEL"))
parser.add_argument("--device", default="cuda:0")
parser.add_argument("--gemm", nargs="+", choices=["own", "cublas"], default=["own", "cublas"])
parser.add_argument("--repeats", type=int, default=3)
parser.add_argument("--steps", type=int, default=20)
parser.add_argument("--batch", type=int, default=256)
parser.add_argument("--texts", type=int, default=20_000)
parser.add_argument("--labels", type=int, default=131_072)
parser.add_argument("--peer", choices=["encode", "search", "head"], help=argparse.SUPPRESS)
parser.add_argument("--numbers", choices=["f32", "tf32", "bf16"], default="f32", help=argparse.SUPPRESS)
parser.add_argument("--input", type=Path, nargs="+", help=argparse.SUPPRESS)
args = parser.parse_args()
THREADS = os.cpu_count()
# Items, their width, queries, and how many of the best.
ITEMS, WIDTH, QUERIES, BEST = 131_072, 768, 1024, 100
# Labels of a chunk, as Lode has them on a device.
CHUNK = 32_768


def peer_encode():
    """PyTorch: tokens a second."""
    import torch
    import torch.nn.functional as F
    from transformers import AutoModel, AutoTokenizer

    torch.backends.cuda.matmul.allow_tf32 = args.numbers == "tf32"
    lines = args.input[0].read_text(encoding="utf8").splitlines()
    tokenizer, network = AutoTokenizer.from_pretrained(args.model), AutoModel.from_pretrained(args.model).to(args.device).eval()

    def encode(lines):
        ids = tokenizer(lines, truncation=True, max_length=32, padding=True, return_tensors="pt").to(args.device)
        with torch.autocast(torch.device(args.device).type, torch.bfloat16, enabled=args.numbers == "bf16"):
            hidden = network(**ids).last_hidden_state.float()
        mask = ids["attention_mask"][..., None]
        return F.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1).cpu(), int(mask.sum())

    with torch.inference_mode():
        encode(lines[:256])
        since = time.perf_counter()
        tokens = sum(encode(lines[at : at + 256])[1] for at in range(0, len(lines), 256))
        print(json.dumps(dict(amount=tokens, wall=time.perf_counter() - since)))


def peer_search():
    """PyTorch: queries a second, items and queries on the device already."""
    import numpy as np
    import torch

    torch.backends.cuda.matmul.allow_tf32 = args.numbers == "tf32"
    items, queries = (torch.from_numpy(np.fromfile(path, np.float32).reshape(-1, WIDTH)).to(args.device) for path in args.input)
    for _ in range(2):
        torch.cuda.synchronize()
        since = time.perf_counter()
        for at in range(0, len(queries), 256):
            (queries[at : at + 256] @ items.T).topk(BEST)
        torch.cuda.synchronize()
    print(json.dumps(dict(amount=len(queries), wall=time.perf_counter() - since)))


def peer_head():
    """PyTorch: steps a second over all labels, in chunks as large as Lode's; the gradient is written down, as there."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = args.numbers == "tf32"
    kind = torch.bfloat16 if args.numbers == "bf16" else torch.float32
    with torch.inference_mode():
        weights = (0.1 * (torch.rand(args.labels, WIDTH, device=args.device) - 0.5)).to(kind)
        x = (0.1 * (torch.rand(args.batch, WIDTH, device=args.device) - 0.5)).to(kind)
        third = args.labels // 3
        positives = (torch.arange(3) * third + torch.randint(third, (args.batch, 3))).to(args.device)
        rows = torch.arange(args.batch, device=args.device)[:, None].expand(-1, 3)

        def step():
            pulled, loss = torch.zeros(args.batch, WIDTH, device=args.device), 0.0
            for first in range(0, args.labels, CHUNK):
                part = weights[first : first + CHUNK]
                logits = 20.0 * (x @ part.T).float() - 8.0
                inside = (positives >= first) & (positives < first + len(part))
                loss += torch.nn.functional.softplus(logits).sum() - logits[rows[inside], positives[inside] - first].sum()
                logits = logits.sigmoid_()
                logits[rows[inside], positives[inside] - first] -= 1
                gradient = (logits / args.batch).to(kind)
                pulled += gradient @ part
                part -= 1e-3 * 20.0 * (gradient.T @ x)
            # The mean over queries, and its gradient to each of them.
            return float(loss) / args.batch, 20.0 * pulled

        for steps in (2, args.steps):
            since = time.perf_counter()
            for _ in range(steps):
                loss, _ = step()
        print(json.dumps(dict(amount=args.steps, wall=time.perf_counter() - since, loss=loss)))


def table(work, unit, sides):
    """One row a side; the ratio is to the first."""
    runs = {name: [] for name in sides}
    for _ in range(args.repeats):
        for name, run in sides.items():
            found = run()
            runs[name].append(found["amount"] / found["wall"])
    first = statistics.median(next(iter(runs.values())))
    for name, rates in runs.items():
        middle, low, high = statistics.median(rates), min(rates), max(rates)
        print(f"| {work} | {name} | {middle:,.0f} {unit}/s ({low:,.0f}–{high:,.0f}) | {middle / first:.2f} |", flush=True)


def by_whom(ours):
    """Lode's sides: each precision by everyone who multiplies."""
    names = {"own": "own kernels", "cublas": "cuBLAS"}
    pairs = [(precision, gemm) for precision in ("f32", "bf16") for gemm in args.gemm]
    return {f"Lode, {p}, {names[g]}": lambda p=p, g=g: ours(p, g) for p, g in pairs}


def peer(name, *more):
    command = [sys.executable, __file__, "--peer", name, "--model", args.model, "--device", args.device, *more]
    return lambda: last_json(command, THREADS)


def steps(scratch):
    pairs = texts(None, True)
    data = prepared(pairs, args.model, scratch / "step")

    def ours(precision, gemm):
        out = scratch / "run"
        shutil.rmtree(out, ignore_errors=True)
        command = [LODE, "train", data, "--out", out, "--model", args.model, "--composer", "shuffled", "--device", args.device]
        command += ["--precision", precision, "--gemm", gemm, "--steps", args.steps, "--batch", args.batch]
        command += ["--profile", "--json", "-q"]
        told = last_json([*command, "--set", "data.validation_per_mille=0", "--save-every", "1h"], THREADS)
        return dict(amount=told["tokens"], wall=told["step_wall_seconds"])

    def torch(numbers):
        command = [sys.executable, HERE / "step.py", scratch / "step" / "pairs.jsonl", args.model, "--chunk", 0]
        command += ["--steps", args.steps, "--batch", args.batch, "--device", args.device, "--numbers", numbers]
        return lambda: last_json(command, THREADS)

    sides = by_whom(ours)
    sides |= {f"PyTorch, {numbers}": torch(numbers) for numbers in ("f32", "tf32", "bf16")}
    table(f"step, {args.batch} + {args.batch} texts of 32 tokens", "tokens", sides)


def encoding(scratch):
    lines = [pair["query"] for pair in texts(None, True)]
    lines = [lines[i % len(lines)] for i in range(args.texts)]
    path = scratch / "texts.txt"
    path.write_text("".join(line + "\n" for line in lines), encoding="utf8")

    def ours(precision, gemm):
        command = [LODE, "encode", args.model, path, "--out", scratch / "x.npy", "--max-len", 32, "-q"]
        command += ["--device", args.device, "--precision", precision, "--gemm", gemm]
        since = time.perf_counter()
        subprocess.run([str(word) for word in command], check=True)
        return dict(amount=32 * len(lines), wall=time.perf_counter() - since)

    sides = by_whom(ours)
    sides |= {f"PyTorch, {n}": peer("encode", "--numbers", n, "--input", path) for n in ("f32", "tf32", "bf16")}
    table(f"encoding {len(lines)} texts of 32 tokens", "tokens", sides)


def searching(scratch):
    items, queries = scratch / "items", scratch / "queries"
    unit_rows(ITEMS, WIDTH, 2000, 0).tofile(items)
    unit_rows(QUERIES, WIDTH, 2000, 1).tofile(queries)
    def ours(gemm):
        return last_json([WORKS, "resident", items, queries, WIDTH, BEST, args.device, gemm, 3, scratch / "ids"], THREADS)

    names = {"own": "own kernels", "cublas": "cuBLAS"}
    sides = {f"Lode, f32, {names[gemm]}": lambda gemm=gemm: ours(gemm) for gemm in args.gemm}
    command = [WORKS, "search", items, queries, WIDTH, BEST, THREADS, 3, scratch / "ids"]
    sides |= {f"Lode, {THREADS} threads of the processor": lambda: last_json(command, THREADS)}
    sides |= {f"PyTorch, {n}": peer("search", "--numbers", n, "--input", items, queries) for n in ("f32", "tf32")}
    table(f"exact top-{BEST} of {ITEMS} × {WIDTH}", "queries", sides)


def heads(_):
    def ours(precision, gemm):
        words = ["head", args.labels, WIDTH, args.batch, args.device, gemm, precision, args.steps]
        return last_json([WORKS, *words], THREADS)

    more = ["--labels", args.labels, "--batch", args.batch, "--steps", args.steps]
    sides = by_whom(ours) | {f"PyTorch, {n}": peer("head", "--numbers", n, *more) for n in ("f32", "tf32", "bf16")}
    table(f"all {args.labels} labels × {WIDTH}, {args.batch} queries, plain descent", "steps", sides)


if args.peer:
    {"encode": peer_encode, "search": peer_search, "head": peer_head}[args.peer]()
else:
    print("| Work | Side | Rate (lowest–highest) | To Lode's first |\n| --- | --- | --- | --- |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for work in (steps, heads, encoding, searching):
            work(Path(folder))
