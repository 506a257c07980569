#!/usr/bin/env python3
"""Random batches beside NGAME's: accuracy over processor seconds and over encoder forwards, as a table and a picture.

    batches.py LODE DATA OUT.svg [--model bag] [--epochs 12] [--seeds 3] [--batch 512] [--lr 2e-3] [-- TRAIN_FLAGS …]

Each way of composing batches trains from the same weights with the same seeds; after each epoch the queries that were held
out are ranked. The runs alternate, each on one thread. Processor seconds are those of training alone, mining and clustering
counted, measuring not. Encoder forwards are counted in tokens, as the log has them: a text that stands in a batch twice is
encoded once. Needs no package.
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

WAYS = {
    "random": ["--composer", "shuffled"],
    "NGAME": ["--composer", "ngame"],
    **{f"clusters of {n}": ["--composer", "ngame", "--set", f'composer.sizes=["0:{n}"]'] for n in (8, 32, 128)},
}
COLOURS = ["#888888", "#c03020", "#e0a030", "#3070b0", "#409060"]
TICK = os.sysconf("SC_CLK_TCK")


def processor(pid):
    fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def run(args, way, seed):
    """[(processor seconds, millions of tokens, P@1, R@10)] after each epoch."""
    out = tempfile.mkdtemp(prefix="batches-")
    shutil.rmtree(out)
    words = [args.lode, "train", args.data, "--out", out, "--model", args.model, "--epochs", str(args.epochs)]
    words += ["--batch", str(args.batch), "--lr", args.lr, "--seed", str(seed), "--threads", "1", "-q"]
    words += ["--set", "save.log_every=1", "--save-every", "1h"]
    child = subprocess.Popen(words + WAYS[way] + args.flags, stdout=subprocess.DEVNULL)
    points, read, measuring, at, before = [], 0, 0.0, 0.0, 0.0
    tokens, stepped = 0.0, 0.0
    while child.poll() is None or read >= 0:
        over = child.poll() is not None
        try:
            at = processor(child.pid) if not over else at
        except (FileNotFoundError, ProcessLookupError):
            pass
        try:
            lines = open(f"{out}/log.jsonl").read().split("\n")[:-1]
        except FileNotFoundError:
            lines = []
        for line in map(json.loads, lines[read:]):
            if "metrics" in line:
                metrics = line["metrics"]
                points.append((before - measuring, tokens / 1e6, metrics["P@1"], metrics["R@10"]))
                measuring += at - before
            elif "tokens_per_s" in line:
                tokens += line["tokens_per_s"] * (line["seconds"] - stepped)
                stepped = line["seconds"]
            before = at
        read = len(lines) if not over else -1
        time.sleep(0.01)
    if child.returncode:
        sys.exit(f"{' '.join(words)}: exit {child.returncode}")
    shutil.rmtree(out)
    return points


def drawing(curves, titles):
    """Two axes beside each other; each curve is (name, colour, [(x of the first axis, x of the second, y)])."""
    wide, high, pad = 420, 300, 50
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * wide + 200} {high + 70}" '
             'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="white"/>']
    ys = [y for _, _, points in curves for *_, y in points]
    low, top = min(ys), max(ys)
    for axis, title in enumerate(titles):
        left, most = pad + axis * (wide + 20), max(p[axis] for _, _, points in curves for p in points)
        x = lambda v: left + (wide - pad) * v / most
        y = lambda v: 20 + high - high * (v - low) / (top - low)
        for i in range(5):
            v, h = low + (top - low) * i / 4, most * i / 4
            parts.append(f'<path d="M{left} {y(v):.1f}H{left + wide - pad}" stroke="#ddd"/>')
            parts.append(f'<text x="{left - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.1f}</text>')
            parts.append(f'<text x="{x(h):.1f}" y="{high + 38}" text-anchor="middle">{h:.3g}</text>')
        parts.append(f'<text x="{left + (wide - pad) / 2}" y="{high + 58}" text-anchor="middle">{title}</text>')
        for name, colour, points in curves:
            line = " ".join(f"{x(p[axis]):.1f},{y(p[2]):.1f}" for p in points)
            parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
    for i, (name, colour, _) in enumerate(curves):
        parts.append(f'<path d="M{2 * wide + 40} {30 + 18 * i}h18" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{2 * wide + 64}" y="{34 + 18 * i}">{name}</text>')
    parts.append(f'<text x="{pad}" y="14">P@1, %, of held-out queries</text></svg>')
    return "\n".join(parts)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("lode", "data", "picture"):
        parser.add_argument(name)
    for name, default in (("model", "bag"), ("epochs", 12), ("seeds", 3), ("batch", 512), ("lr", "2e-3")):
        parser.add_argument(f"--{name}", default=default, type=type(default))
    args, flags = parser.parse_known_args()
    args.flags = [flag for flag in flags if flag != "--"]
    found = {way: [] for way in WAYS}
    for seed in range(args.seeds):
        for way in WAYS:
            found[way].append(run(args, way, seed))
            print(f"{way}, seed {seed}: P@1 {100 * found[way][-1][-1][2]:.2f}", file=sys.stderr)
    print("| batches | epoch | processor s | M tokens | P@1 | R@10 | P@1 over random, by seed |\n|---|---|---|---|---|---|---|")
    curves = []
    for (way, runs), colour in zip(found.items(), COLOURS):
        mean = lambda e, i: statistics.mean(r[e][i] for r in runs)
        epochs = range(len(runs[0]))
        curves.append((way, colour, [(mean(e, 0), mean(e, 1), 100 * mean(e, 2)) for e in epochs]))
        for e in [e for e in epochs if e + 1 in (1, 2, 4, 8, args.epochs)]:
            over = [100 * (r[e][2] - random[e][2]) for r, random in zip(runs, found["random"])]
            over = ", ".join(f"{d:+.1f}" for d in over) if way != "random" else ""
            figures = f"{mean(e, 0):.1f} | {mean(e, 1):.2f} | {100 * mean(e, 2):.2f} | {100 * mean(e, 3):.2f}"
            print(f"| {way} | {e + 1} | {figures} | {over} |")
    titles = ["processor seconds, one thread", "millions of tokens encoded"]
    with open(args.picture, "w") as file:
        file.write(drawing(curves, titles))


main()
