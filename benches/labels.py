#!/usr/bin/env python3
"""Time of a step, memory and disk of a classifier over its number of labels, as a user runs it.

    benches/labels.py target/release/lode --labels 100000,1000000,3000000 --folder DIR

makes for each number L a data set of L labels and a few thousand titles of two labels each, from a seeded vocabulary,
prepares it, trains `--head classifier` on a bag of width 384 in two ways, and prints a row for each:

    sampled   --loss supcon                          candidates of a batch: should not depend on L
    all       --loss bce --set head.labels=all       the shortcut gradient over all labels: should be linear in L

Weights are bf16 with row-wise Adagrad. Seconds of a step are those between two lines of the run's log, by processor
(user and system, all threads) and by wall; what comes before the first step (label embeddings, shortlists) stands apart.
The plan is that of `--dry-run`, the peak the most anonymous resident memory in samples ten milliseconds apart. Linux only;
needs Python and nothing else. DIR needs some 2 kB a label, and is emptied as it goes.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import time
from pathlib import Path

TITLES = 2304
BATCH = 256
WIDTH = 384
# Steps of a run, and those at its start that are not timed: their buffers are new.
STEPS = {"sampled": (240, 40), "all": (5, 1)}
WAYS = {
    "sampled": ["--loss", "supcon"],
    "all": ["--loss", "bce", "--set", "head.labels=all"],
}
TICKS = os.sysconf("SC_CLK_TCK")


def words(count):
    """So many words of three syllables."""
    syllables = [c + v for c in "bdfgklmnprstvz" for v in "aeiou"]
    return ["".join(random.Random(i).choices(syllables, k=3)) + str(i % 10) for i in range(count)]


def make(folder, labels):
    """Writes lbl, trn and tst: labels of three words, titles with two words of each of their two labels."""
    rng, vocabulary = random.Random(labels), words(2000)
    texts = {}
    chosen = [rng.sample(range(labels), 2) for _ in range(TITLES + 20)]
    wanted = {label for pair in chosen for label in pair}
    folder.mkdir(parents=True)
    with open(folder / "lbl.jsonl", "w") as out:
        for first in range(0, labels, 100_000):
            count = min(100_000, labels - first)
            drawn = rng.choices(vocabulary, k=3 * count)
            for i in range(count):
                text = " ".join(drawn[3 * i : 3 * i + 3])
                if first + i in wanted:
                    texts[first + i] = text
                out.write(f'{{"uid":"{first + i}","title":"{text}"}}\n')
    for name, part in (("trn", chosen[:TITLES]), ("tst", chosen[TITLES:])):
        with open(folder / f"{name}.jsonl", "w") as out:
            for i, pair in enumerate(part):
                title = " ".join(word for label in pair for word in texts[label].split()[:2])
                out.write(json.dumps({"uid": f"{name}{i}", "title": title, "target_ind": pair}) + "\n")


def status(pid, field):
    try:
        for line in open(f"/proc/{pid}/status"):
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
    except (FileNotFoundError, ProcessLookupError):
        pass
    return 0


def processor(pid):
    """Seconds of processor time of all threads so far."""
    try:
        fields = open(f"/proc/{pid}/stat").read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS
    except (FileNotFoundError, ProcessLookupError):
        return 0.0


def watch(command, log=None):
    """Runs a command: its processor seconds, its peak of anonymous memory, and those seconds at each line of a log."""
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak, at, seen, cpu = 0, [], 0, 0.0
    while child.poll() is None:
        peak, cpu = max(peak, status(child.pid, "RssAnon")), max(cpu, processor(child.pid))
        size = log.stat().st_size if log and log.exists() else 0
        if size > seen:
            with open(log, "rb") as file:
                lines = file.read().count(b"\n")
            at.extend([cpu] * (lines - len(at)))
            seen = size
        time.sleep(0.01)
    if child.returncode:
        sys.exit(f"{' '.join(command)} ended with {child.returncode}")
    return cpu, peak, at


def megabytes(count):
    return f"{count / 1e6:,.0f}"


def measure(lode, folder, data, labels, way, more):
    (steps, untimed), run = STEPS[way], folder / "run"
    command = [lode, "train", str(data), "--model", "bag", "--set", f"model.width={WIDTH}", "--head", "classifier"]
    command += ["--set", "head.precision=bf16", "--set", "head.optimizer=adagrad", "--batch", str(BATCH)]
    command += ["--composer", "shuffled", "--set", "head.refresh_epochs=100000", "--set", "save.validate_every=100000"]
    command += ["--save-every", "24h", "--set", "save.log_every=1", "--steps", str(steps)]
    command += WAYS[way] + more + ["-q", "--out", str(run)]
    plan = json.loads(subprocess.run(command + ["--dry-run", "--json"], stdout=subprocess.PIPE, check=True).stdout)
    _, peak, at = watch(command, run / "log.jsonl")
    lines = [json.loads(line) for line in open(run / "log.jsonl")]
    count = steps - untimed
    cpu = (at[steps - 1] - at[untimed - 1]) / count
    wall = (lines[steps - 1]["seconds"] - lines[untimed - 1]["seconds"]) / count
    saved = max(file.stat().st_size for file in (run / "checkpoints").iterdir())
    row = [f"{labels:,}", way, f"{1e3 * cpu:,.1f}", f"{1e3 * wall:,.1f}", f"{at[0]:.1f}", megabytes(plan["total_bytes"])]
    row += [megabytes(peak), f"{100 * (peak / plan['total_bytes'] - 1):+.0f} %", megabytes(plan["mapped_bytes"]), megabytes(saved)]
    shutil.rmtree(run)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("lode", help="the binary")
    parser.add_argument("--labels", default="100000,1000000,3000000", help="numbers of labels")
    parser.add_argument("--ways", default="sampled,all")
    parser.add_argument("--folder", type=Path, required=True, help="a new directory")
    parser.add_argument("--keep", action="store_true", help="leave the data sets there")
    args, more = parser.parse_known_args()
    print("| labels | way | step, CPU ms | wall ms | start, CPU s | plan MB | peak MB | off | mapped MB | checkpoint MB |")
    print("|---|---|---|---|---|---|---|---|---|---|", flush=True)
    for labels in map(int, args.labels.split(",")):
        source, data = args.folder / f"source-{labels}", args.folder / f"{labels}.data"
        if not data.exists():
            make(source, labels)
            prepare = [args.lode, "prepare", str(source), "--format", "jsonl", "--out", str(data), "--train-vocab", "4000", "-q"]
            cpu, peak, _ = watch(prepare)
            shutil.rmtree(source)
            print(f"prepare {labels:,}: {cpu:.1f} CPU-seconds, {megabytes(peak)} MB", file=sys.stderr, flush=True)
        for way in args.ways.split(","):
            print("| " + " | ".join(measure(args.lode, args.folder, data, labels, way, more)) + " |", flush=True)
        if not args.keep:
            data.unlink()


if __name__ == "__main__":
    main()
