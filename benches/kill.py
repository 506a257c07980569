#!/usr/bin/env python3
"""A classifier that is killed between two checkpoints and taken up, beside one that nobody disturbs: the same tables?

    kill.py LODE DATA FOLDER [--max-memory 4GB] [--steps 30] [TRAIN_FLAGS …]

DATA is one of those that labels.py makes. Both runs are `train DATA --model bag --set model.width=384 --head classifier
--loss supcon --composer shuffled --batch 256 --set head.mined=0` and the flags given. Prints for each the plan, the peak of
anonymous resident memory, the bytes of its checkpoints and a checksum of every table in the last one; exit 1 if they differ.
Needs numpy and, in FOLDER, three times the bytes of the tables; what it writes there is removed.
"""
import argparse
import glob
import hashlib
import json
import os
import shutil
import struct
import subprocess
import sys
import time

import numpy as np


def sections(path):
    """Name → (offset, bytes) of a container (`engine/src/container.rs` has the layout)."""
    with open(path, "rb") as file:
        head = file.read(64)
        file.seek(struct.unpack_from("<Q", head, 40)[0])
        rows = [file.read(64) for _ in range(struct.unpack_from("<I", head, 12)[0])]
    return {row[:32].rstrip(b"\0").decode(): struct.unpack_from("<QQ", row, 40) for row in rows}


def part(path, name, dtype):
    offset, size = sections(path).get(name, (0, 0))
    return np.memmap(path, dtype, "r", offset, (size // np.dtype(dtype).itemsize,)) if size else np.zeros(0, dtype)


def tables(run):
    """A checksum of each table in the newest checkpoint: the newest whole file, and over it what later ones changed."""
    files = sorted(glob.glob(f"{run}/checkpoints/step-*.lode"))
    found = []
    for i in range(3):
        runs = [part(path, f"h{i}.rows", np.uint32).reshape(-1, 2) for path in files]
        if not runs[-1].size and f"h{i}" not in sections(files[-1]):
            break
        labels = max(int(r.max()) for r in runs if r.size)
        base = max(k for k, r in enumerate(runs) if r.tolist() == [[0, labels]])
        rows = np.array(part(files[base], f"h{i}", np.uint8)).reshape(labels, -1)
        for path, changed in zip(files[base + 1:], runs[base + 1:]):
            values, at = part(path, f"h{i}", np.uint8).reshape(-1, rows.shape[1]), 0
            for start, end in changed:
                rows[start:end] = values[at:at + end - start]
                at += end - start
        found.append(hashlib.blake2b(rows, digest_size=8).hexdigest())
    return found, [os.path.getsize(path) for path in files]


def anonymous(child):
    """The peak of anonymous resident bytes until the process ends."""
    peak = 0
    while child.poll() is None:
        try:
            status = open(f"/proc/{child.pid}/status").read()
            peak = max(peak, 1024 * int(status.split("RssAnon:")[1].split()[0]))
        except (FileNotFoundError, IndexError):
            pass
        time.sleep(0.02)
    if child.returncode:
        sys.exit(f"exit {child.returncode}")
    return peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("lode", "data", "folder"):
        parser.add_argument(name)
    parser.add_argument("--max-memory")
    parser.add_argument("--steps", default="30")
    args, flags = parser.parse_known_args()
    limit = ["--max-memory", args.max_memory] if args.max_memory else []
    words = ["train", args.data, "--model", "bag", "--set", "model.width=384", "--head", "classifier", "--loss", "supcon"]
    words += ["--composer", "shuffled", "--batch", "256", "--set", "head.mined=0", "--steps", args.steps, "--keep", "1"]
    words = [args.lode] + words + ["--set", "save.log_every=1", "-q"] + limit + flags
    start = lambda more: subprocess.Popen(more, stdout=subprocess.DEVNULL)
    plan = json.loads(subprocess.check_output(words + ["--out", f"{args.folder}/none", "--dry-run", "--json"]))
    print(f"plan {plan['total_bytes'] / 1e6:.0f} MB, mapped {plan.get('mapped_bytes', 0) / 1e6:.0f} MB")
    results = []
    for name, every in (("whole", "1h"), ("killed", "1s")):
        run = f"{args.folder}/{name}"
        child = start(words + ["--out", run, "--save-every", every])
        if name == "killed":
            while child.poll() is None and len(glob.glob(f"{run}/checkpoints/step-*.lode")) < 2:
                time.sleep(0.02)
            time.sleep(0.3)
            if child.poll() is not None:
                sys.exit("it ended before it could be killed: give it more --steps")
            child.kill()
            child.wait()
            print(f"killed at line {sum(1 for _ in open(f'{run}/log.jsonl'))} of the log")
            child = start([args.lode, "resume", run, "-q"] + limit)
        peak = anonymous(child)
        found, sizes = tables(run)
        print(f"{name}: peak {peak / 1e6:.0f} MB, files {[round(s / 1e6, 1) for s in sizes]} MB, tables {found}")
        results.append(found)
        shutil.rmtree(run)
    print("equal" if results[0] == results[1] else "DIFFERENT")
    sys.exit(results[0] != results[1])


main()
