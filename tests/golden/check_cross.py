"""Loads an exported cross-encoder with sentence-transformers and compares its scores with ours.

usage: python tests/golden/check_cross.py EXPORTED_DIR PAIRS.jsonl

    lode export RUN --to hf --out EXPORTED_DIR
    lode mine MODEL DATA --rescore RUN --format labeled-pairs --scores --out PAIRS.jsonl

Prints the largest difference over the first 500 pairs; exit status 1 when it is above 1e-5. Runs offline, on the CPU.
"""

import json
import os
import sys
from itertools import islice
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

from sentence_transformers import CrossEncoder

LARGEST = 1e-5


def main():
    exported, pairs = sys.argv[1:]
    model = CrossEncoder(str(Path(exported).resolve()), device="cpu", local_files_only=True)
    with open(pairs, encoding="utf-8") as lines:
        rows = [json.loads(line) for line in islice(lines, 500)]
    texts = [(row["anchor"], row["document"]) for row in rows]
    theirs = model.predict(texts, batch_size=1, show_progress_bar=False)
    off = max(abs(float(score) - row["score"]) for score, row in zip(theirs, rows))
    print(f"{len(rows)} pairs: max |difference| {off:.2e}")
    # Written so that NaN fails too.
    if not off <= LARGEST:
        sys.exit(f"above {LARGEST:.0e}")


main()
