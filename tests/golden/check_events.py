"""Reads the event files of a run with TensorBoard's own reader and compares them with its log (tensorboard 2.21.0).

    lode train DATA --out RUN --set save.tensorboard=true      # stop it, kill it, resume it
    python tests/golden/check_events.py RUN
"""
import json
import pathlib
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def f32(x):
    return struct.unpack("<f", struct.pack("<f", x))[0]


run = pathlib.Path(sys.argv[1])
folder = run / "tensorboard"
reader = EventAccumulator(str(folder), size_guidance={"scalars": 0})
reader.Reload()
lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
want = {}
for line in lines:
    if "loss" in line:
        for name, value in line.items():
            if isinstance(value, (int, float)) and name not in ("step", "seconds"):
                want.setdefault(f"train/{name}", []).append((line["step"], f32(value)))
    for name, value in line.get("metrics", {}).items():
        want.setdefault(f"validation/{name}", []).append((line["step"], f32(value)))
for tag, curve in want.items():
    got = [(event.step, event.value) for event in reader.Scalars(tag)]
    assert got == curve, f"{tag}: {got} instead of {curve}"
files = len(list(folder.iterdir()))
points = sum(len(curve) for curve in want.values())
print(f"{files} files, {len(reader.Tags()['scalars'])} tags; {len(want)} of them, {points} points, are as in the log")
