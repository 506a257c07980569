#!/usr/bin/env python3
"""Runs the same work here and in a peer, in turn (A B A B …), and prints medians and ratios with their spread.

The processes are separate, each with its own number of threads. CPU seconds compare work, wall seconds compare waiting;
on a shared machine only the ratios of neighbours mean anything. Start it by `compare.sh`.
"""
import argparse
import gzip
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
LODE = HERE.parent.parent / "target" / "release" / "lode"
WORKS = LODE.parent / "examples" / "works"


def last_json(command, threads):
    """What a command says in its last lines of JSON, merged; its own words where it fails."""
    env = dict(os.environ, OMP_NUM_THREADS=str(threads))
    # Hints for old BLAS builds make a new one slow.
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        env.pop(name, None)
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, env=env)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}\n{done.stderr[-2000:]}")
    found = {}
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            found.update(json.loads(line))
    return found


class Side:
    """One side of a comparison: a name, and how to run it once: amount of work, CPU and wall seconds."""

    def __init__(self, name, run):
        self.name, self.run, self.runs = name, run, []


def compare(title, unit, ours, theirs, repeats):
    for _ in range(repeats):
        for side in (ours, *theirs):
            side.runs.append(side.run())
    rate = lambda run, clock: run["amount"] / run[clock]
    median = lambda side, clock: statistics.median(rate(run, clock) for run in side.runs)
    for side in (ours, *theirs):
        row = [title, side.name, f"{median(side, 'cpu'):,.0f} {unit}/CPU-s", f"{median(side, 'wall'):,.0f} {unit}/s"]
        peak = max(run.get("peak_rss_bytes", 0) for run in side.runs)
        row.append(f"{peak / 1e6:,.0f} MB" if peak else "")
        if side is not ours:
            for clock in ("cpu", "wall"):
                ratios = [rate(a, clock) / rate(b, clock) for a, b in zip(ours.runs, side.runs)]
                row.append(f"{statistics.median(ratios):.2f} ({min(ratios):.2f}–{max(ratios):.2f}) by {clock}")
        print(" | ".join(row), flush=True)


def texts(data, full):
    """Pairs of a query and a label; with `full`, of words enough to fill the longest text."""
    if full:
        draw = random.Random(0)
        words = "water engine history music forest market theory bridge island metal".split()
        text = lambda: " ".join(draw.choice(words) for _ in range(40))
        return [dict(query=f"{text()}", label=f"{text()}") for _ in range(2000)]
    read = lambda name, most: [json.loads(line) for line, _ in zip(gzip.open(data / name, "rt"), range(most))]
    labels = read("lbl.jsonl.gz", 10**9)
    return [dict(query=row["title"], label=labels[row["target_ind"][0]]["title"]) for row in read("trn.jsonl.gz", 8000)]


def prepared(pairs, model, folder):
    """The pairs as a data set of ours, and as JSON lines for a peer."""
    folder.mkdir()
    (folder / "pairs.jsonl").write_text("".join(json.dumps(pair) + "\n" for pair in pairs), encoding="utf8")
    with open(folder / "pairs.csv", "w", encoding="utf8", newline="") as file:
        import csv

        table = csv.writer(file)
        table.writerow(["title", "label"])
        table.writerows([pair["query"], pair["label"]] for pair in pairs)
    out = folder / "pairs.lode"
    command = [LODE, "prepare", folder / "pairs.csv", "--text", "title", "--labels", "label", "--split", "100/0"]
    subprocess.run([*command, "--tokenizer", model, "--max-len", "32", "--out", out, "-q"], check=True, stdout=subprocess.DEVNULL)
    return out


def distilbert(folder, tokenizer):
    """A DistilBERT-base with random weights, and the tokenizer of another model."""
    from transformers import DistilBertConfig, DistilBertModel

    DistilBertModel(DistilBertConfig()).save_pretrained(folder)
    for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json", "special_tokens_map.json"):
        shutil.copy(Path(tokenizer) / name, folder)
    return folder


def step(args, scratch):
    for shape, full in (("MiniLM-L6", True), ("MiniLM-L6", False), ("DistilBERT", True)):
        if args.only in (None, f"{shape}-{'full' if full else 'titles'}"):
            model = args.model if shape == "MiniLM-L6" else distilbert(scratch / "distilbert", args.model)
            pairs = texts(args.data, full)
            folder = scratch / f"{shape}-{full}"
            data = prepared(pairs, model, folder)
            batch = 256 if shape == "MiniLM-L6" else 64
            for threads in args.threads:

                def ours(extra=()):
                    out = scratch / "run"
                    shutil.rmtree(out, ignore_errors=True)
                    command = [LODE, "train", data, "--out", out, "--model", model, "--composer", "shuffled"]
                    command += ["--steps", args.steps, "--batch", batch, "--threads", threads, "--profile", "--json", "-q"]
                    command += ["--set", "data.validation_per_mille=0", "--save-every", "1h", *extra]
                    told = last_json(command, threads)
                    return dict(
                        amount=told["tokens"],
                        cpu=told["step_cpu_seconds"],
                        wall=told["step_wall_seconds"],
                        peak_rss_bytes=told["peak_rss_bytes"],
                    )

                def torch(*extra):
                    command = [sys.executable, HERE / "step.py", folder / "pairs.jsonl", model, "--threads", threads]
                    command += ["--steps", args.steps, "--batch", batch, *extra]
                    return lambda: last_json(command, threads)

                peers = [Side("PyTorch, length-sorted chunks of 32", torch("--chunk", 32))]
                if full:
                    peers = [Side("PyTorch", torch("--chunk", 0)), Side("PyTorch, compiled", torch("--chunk", 0, "--compile"))]
                else:
                    peers.append(Side("PyTorch, padded to the longest", torch("--chunk", 0)))
                kind = "32 tokens each" if full else "titles"
                title = f"{shape} step, {kind}, {batch} + {batch}, {threads} thread{'s' * (threads > 1)}"
                compare(title, "tokens", Side("lode", ours), peers, args.repeats)
                if not full:
                    compare(f"{title}, recomputed", "tokens", Side("lode --recompute", lambda: ours(["--recompute"])), [], 1)


def sides(ours, theirs, inputs, out, threads):
    """Our `works` example beside `works.py`: the arguments of both are the same, and each leaves its result in a file."""
    words = [*inputs, threads, 3, out]
    found = [Side("lode", lambda: last_json([WORKS, ours, *words], threads))]
    for name, work in theirs:
        command = [sys.executable, HERE / "works.py", work, *words[:-1], f"{out}.{work}"]
        found.append(Side(name, lambda command=command: last_json(command, threads)))
    return found


def unit_rows(rows, width, centres, seed):
    """Rows around random directions, on the sphere."""
    import numpy as np

    draw = np.random.default_rng(seed)
    middle = draw.standard_normal((centres, width), dtype=np.float32)
    found = middle[draw.integers(0, centres, rows)] + 0.8 * draw.standard_normal((rows, width), dtype=np.float32)
    return found / np.linalg.norm(found, axis=1, keepdims=True)


def search(args, scratch):
    import numpy as np

    count, width, wanted, k = 131_072, 768, 1024, 100
    items, draw = unit_rows(count, width, 2000, 0), np.random.default_rng(1)
    noise = 0.02 * draw.standard_normal((wanted, width), dtype=np.float32)
    items.tofile(scratch / "items")
    (items[draw.integers(0, count, wanted)] + noise).tofile(scratch / "queries")
    for threads in args.threads:
        inputs = [scratch / "items", scratch / "queries", width, k]
        theirs = [("torch mm + topk", "torch"), ("faiss IndexFlatIP", "faiss")]
        ours, *peers = sides("search", theirs, inputs, scratch / "ids", threads)
        compare(f"exact top-{k} of {count} × {width}, {threads} threads", "queries", ours, peers, args.repeats)
        read = lambda name: np.sort(np.fromfile(scratch / name, np.uint32).reshape(-1, k), 1)
        for work in ("torch", "faiss"):
            print(f"  same hits as {work}: {(read('ids') == read(f'ids.{work}')).mean():.5f}")


def cluster(args, scratch):
    import numpy as np

    count, width, depth = 300_000, 384, 12
    points = unit_rows(count, width, 3000, 0)
    points.tofile(scratch / "points")
    sizes = [count]
    for _ in range(depth):
        sizes = [half for size in sizes for half in ((size + 1) // 2, size // 2)]
    ends = np.cumsum(sizes)[:-1]
    for threads in args.threads:
        inputs = [scratch / "points", width, depth]
        ours, *peers = sides("cluster", [("numpy", "numpy")], inputs, scratch / "order", threads)
        compare(f"clusters of {count // 2**depth} of {count} × {width}, {threads} threads", "points", ours, peers, args.repeats)
        for name in ("order", "order.numpy"):
            order = np.fromfile(scratch / name, np.uint32)
            sums = sum(np.linalg.norm(points[part].sum(0)) for part in np.split(order, ends))
            print(f"  {name}: a point and the middle of its cluster have a cosine of {sums / count:.4f} in the mean")


def tokenize(args, scratch):
    import numpy as np

    lines = [json.loads(line)["title"] for line in gzip.open(args.data / "trn.jsonl.gz", "rt")]
    (scratch / "titles").write_text("".join(" ".join(line.split()) + "\n" for line in lines), encoding="utf8")
    for threads in args.threads:
        inputs = [args.model, scratch / "titles", 32]
        ours, *peers = sides("tokenize", [("tokenizers, encode_batch_fast", "tokenizers")], inputs, scratch / "ids", threads)
        compare(f"tokenizing {len(lines)} titles, {threads} threads", "titles", ours, peers, args.repeats)
        same = np.array_equal(*(np.fromfile(scratch / name, np.uint32) for name in ("ids", "ids.tokenizers")))
        print(f"  same ids: {same}")


WORKS_OF = dict(step=step, search=search, cluster=cluster, tokenize=tokenize)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=WORKS_OF)
    parser.add_argument("--model", type=Path, default=os.environ.get("MODEL"))
    parser.add_argument("--data", type=Path, default=os.environ.get("DATA"))
    parser.add_argument("--only", choices=["MiniLM-L6-full", "MiniLM-L6-titles", "DistilBERT-full"])
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        WORKS_OF[args.work](args, Path(scratch))
