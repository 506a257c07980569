#!/usr/bin/env python3
"""What checkpoints cost a run: the same steps without any, with the disk waited for, and with it in the background.

    benches/checkpoints.py LODE DATA MODEL [--every 2s] [--steps 40] [--batch 256] [--rounds 5]

The three alternate; a line for each round, then medians of the pairs: how much longer a run took than its neighbour
without checkpoints, by the seconds of its log, and how long it waited for each checkpoint. Standard library only.
"""
import argparse
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile

MODES = {"none": [], "waits": ["--set", "save.background=false"], "background": ["--set", "save.background=true"]}


def run(args, folder, mode):
    """Seconds from the first step to the last, checkpoints on the way, and what they were waited for."""
    out = folder / mode
    shutil.rmtree(out, ignore_errors=True)
    every = "0s" if mode == "none" else args.every
    words = [args.lode, "train", args.data, "--model", args.model, "--out", out, "--steps", args.steps, "--batch", args.batch]
    words += ["--save-every", every, "--set", "save.log_every=1", "--set", "data.validation_per_mille=0", "-v", *MODES[mode]]
    told = subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True).stderr
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    steps = [line["seconds"] for line in lines if "loss" in line]
    # The last checkpoint is behind the last step: none of these seconds.
    waits = [float(s) for s in re.findall(r"saved step [\d ]+, waited for ([\d.]+) s", told)][:-1]
    size = max(f.stat().st_size for f in (out / "checkpoints").iterdir())
    return steps[-1] - steps[0], waits, size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lode"), parser.add_argument("data"), parser.add_argument("model")
    for name, value in [("every", "2s"), ("steps", "40"), ("batch", "256"), ("rounds", "5")]:
        parser.add_argument(f"--{name}", default=value)
    args = parser.parse_args()
    args.lode = pathlib.Path(args.lode).resolve()
    longer = {mode: [] for mode in MODES}
    waited = {mode: [] for mode in MODES}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for number in range(int(args.rounds)):
            found = {mode: run(args, pathlib.Path(folder), mode) for mode in MODES}
            base = found["none"][0]
            for mode, (seconds, waits, size) in found.items():
                longer[mode].append(100 * (seconds / base - 1))
                waited[mode] += waits
                print(f"round {number}  {mode:<10} {seconds:7.2f} s  {len(waits)} checkpoints of {size / 1e6:.0f} MB", flush=True)
    for mode in list(MODES)[1:]:
        low, high = min(longer[mode]), max(longer[mode])
        wait = statistics.median(waited[mode]) if waited[mode] else 0
        print(f"{mode:<10} {statistics.median(longer[mode]):+.1f} % ({low:+.1f} … {high:+.1f}), {wait:.3f} s waited for one")


if __name__ == "__main__":
    main()
