#!/usr/bin/env python3
"""Time, memory and disk of `lode mine` over the number of labels, as a user runs it.

    benches/mine.py target/release/lode --labels 100000,1000000 --queries 10000 --folder DIR

makes for each number L the data set that `labels.py` makes, with as many titles as are wanted, and a bag of width 384 that
has learned for one step; mines three negatives a title with a relative margin of 0.05; and prints a row: processor and wall
seconds, the most resident memory (VmHWM, mapped files among it), the most anonymous one, and the most bytes of the work
folder. Linux only; needs Python and nothing else. DIR needs some 2 kB a label, and is emptied as it goes.
"""

import argparse
import shutil
import subprocess
import sys
import time
from pathlib import Path

import labels as catalogue

WIDTH = 384


def watch(command, work):
    """Runs a command: its processor and wall seconds, its peaks of memory, and the most bytes of a folder."""
    since, peaks, cpu, disk = time.time(), [0, 0], 0.0, 0
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    while child.poll() is None:
        now = [catalogue.status(child.pid, field) for field in ("VmHWM", "RssAnon")]
        peaks = [max(pair) for pair in zip(peaks, now)]
        cpu = max(cpu, catalogue.processor(child.pid))
        try:
            disk = max(disk, sum(file.stat().st_size for file in work.iterdir()))
        except FileNotFoundError:
            pass
        time.sleep(0.02)
    if child.returncode:
        sys.exit(f"{' '.join(command)} ended with {child.returncode}")
    return cpu, time.time() - since, peaks, disk


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("lode")
    parser.add_argument("--labels", default="100000,1000000")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, required=True)
    args = parser.parse_args()
    catalogue.TITLES = args.queries
    print("| labels | queries | CPU s | wall s | resident, MB | anonymous, MB | work folder, MB |")
    print("|---|---|---|---|---|---|---|", flush=True)
    for count in map(int, args.labels.split(",")):
        source, data, run, out = (args.folder / name for name in ("source", "data.lode", "run", "hard.jsonl"))
        catalogue.make(source, count)
        prepare = [args.lode, "prepare", source, "--out", data, "--train-vocab", "4000", "-q"]
        train = [args.lode, "train", data, "--model", "bag", "--set", f"model.width={WIDTH}", "--steps", "1"]
        for command in (prepare, train + ["--batch", "64", "--out", run, "-q"]):
            subprocess.run(list(map(str, command)), stdout=subprocess.DEVNULL, check=True)
        mine = [args.lode, "mine", run, data, "--out", out, "--relative-margin", "0.05", "-q"]
        cpu, wall, (resident, anonymous), disk = watch(list(map(str, mine)), args.folder / "hard.jsonl.mining")
        sizes = " | ".join(catalogue.megabytes(size) for size in (resident, anonymous, disk))
        print(f"| {count:,} | {args.queries:,} | {cpu:.0f} | {wall:.0f} | {sizes} |", flush=True)
        shutil.rmtree(source)
        shutil.rmtree(run)
        data.unlink()
        out.unlink()


if __name__ == "__main__":
    main()
