#!/usr/bin/env python3
"""What checkpoints cost a run: the same steps without any, with the disk waited for, and with it in the background.

    benches/checkpoints.py LODE DATA MODEL [--every 4s] [--steps 80] [--batch 64] [--rounds 3]

The three alternate; a line for each round, then medians of the pairs: how much longer a run took than its neighbour
without checkpoints, by the seconds of its log, all steps and the second half of them (the first `save.keep` + 1
checkpoints are written into new files, and those after them over old ones); and how long it waited for one
checkpoint of each half. Random batches without mining, so that nothing but steps is timed. Standard library only.
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
    """Seconds of all steps and of the second half; what checkpoints of the halves were waited for; bytes of one."""
    out = folder / mode
    shutil.rmtree(out, ignore_errors=True)
    every = "0s" if mode == "none" else args.every
    words = [args.lode, "train", args.data, "--model", args.model, "--out", out, "--steps", args.steps, "--batch", args.batch]
    words += ["--save-every", every, "--set", "save.log_every=1", "--set", "data.validation_per_mille=0", "-v", *MODES[mode]]
    words += ["--strategy", "in-batch"]
    told = subprocess.run([str(w) for w in words], check=True, capture_output=True, text=True).stderr
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    at = {line["step"]: line["seconds"] for line in lines if "loss" in line}
    first, middle, last = min(at), (min(at) + max(at)) // 2, max(at)
    waits = [(int(n.replace(" ", "")), float(s)) for n, s in re.findall(r"saved step ([\d ]+), waited for ([\d.]+) s", told)]
    # The last checkpoint is behind the last step: none of these seconds.
    halves = [[s for n, s in waits[:-1] if (n > middle) == late] for late in (False, True)]
    size = max(f.stat().st_size for f in (out / "checkpoints").iterdir())
    return [at[last] - at[first], at[last] - at[middle]], halves, size


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("lode"), parser.add_argument("data"), parser.add_argument("model")
    for name, value in [("every", "4s"), ("steps", "80"), ("batch", "64"), ("rounds", "3")]:
        parser.add_argument(f"--{name}", default=value)
    args = parser.parse_args()
    args.lode = pathlib.Path(args.lode).resolve()
    longer = {mode: ([], []) for mode in MODES}
    waited = {mode: ([], []) for mode in MODES}
    with tempfile.TemporaryDirectory(dir=".") as folder:
        for number in range(int(args.rounds)):
            found = {mode: run(args, pathlib.Path(folder), mode) for mode in MODES}
            for mode, (seconds, halves, size) in found.items():
                for part in (0, 1):
                    longer[mode][part].append(100 * (seconds[part] / found["none"][0][part] - 1))
                    waited[mode][part].extend(halves[part])
                count = f"{len(halves[0])} + {len(halves[1])} checkpoints of {size / 1e6:.0f} MB"
                print(f"round {number}  {mode:<10} {seconds[0]:7.2f} s, second half {seconds[1]:7.2f} s  {count}", flush=True)
    for mode in list(MODES)[1:]:
        for part, name in enumerate(("all steps", "second half")):
            low, high = min(longer[mode][part]), max(longer[mode][part])
            waits = waited[mode][part] if part else sum(waited[mode], [])
            told = f"{statistics.median(waits):.2f} s ({min(waits):.2f} … {max(waits):.2f}) waited for one" if waits else "none"
            print(f"{mode:<10} {name:<11} {statistics.median(longer[mode][part]):+.1f} % ({low:+.1f} … {high:+.1f}), {told}")


if __name__ == "__main__":
    main()
