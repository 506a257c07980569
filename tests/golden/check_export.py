"""Loads an exported model directory with sentence-transformers and compares its embeddings with ours.

usage: python tests/golden/check_export.py EXPORTED_DIR EMBEDDINGS.npy TEXTS.txt [--prompt-name query|document]

TEXTS.txt has one text a line (UTF-8), EMBEDDINGS.npy one row a text, as `lode encode` writes it; with a prompt name
sentence-transformers puts the prompt of the directory before each text, and `lode encode --prompt` was given it.
Prints the largest difference; exit status 1 when it is above 1e-5. Runs offline, on the CPU.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

LARGEST = 1e-5


def read_lines(path):
    """Lines end at \\n or \\r\\n only; str.splitlines would also cut at U+2028 and its like."""
    lines = Path(path).read_bytes().decode("utf-8").split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("exported")
    parser.add_argument("embeddings")
    parser.add_argument("texts")
    parser.add_argument("--prompt-name")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    ours = np.load(arguments.embeddings)
    texts = read_lines(arguments.texts)
    # An absolute path is never taken for the name of a model on a hub.
    model = SentenceTransformer(str(Path(arguments.exported).resolve()), device="cpu", local_files_only=True)
    theirs = model.encode(
        texts,
        prompt_name=arguments.prompt_name,
        batch_size=32,
        show_progress_bar=False,
        convert_to_numpy=True,
    )
    if ours.shape != theirs.shape:
        sys.exit(f"shapes differ: {arguments.embeddings} {ours.shape}, sentence-transformers {theirs.shape}")
    off = np.abs(ours.astype(np.float64) - theirs.astype(np.float64)).max(axis=1)
    worst = int(off.argmax())
    print(
        f"{len(texts)} texts, {ours.shape[1]} channels: max |difference| {off[worst]:.2e} (line {worst + 1})"
    )
    # Written so that NaN fails too.
    if not off.max() <= LARGEST:
        sys.exit(f"above {LARGEST:.0e}")


if __name__ == "__main__":
    main()
