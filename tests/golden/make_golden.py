"""Makes the golden files beside it, does the same work in float32, prints how far that is from each.

usage: python tests/golden/make_golden.py [--model DIR_OF_MINILM] [--check]

--model makes minilm.safetensors too (the directory of all-MiniLM-L6-v2).
--check writes nothing and compares only.
Exit status 1 when float32 is further away than any rounding explains.
"""

import argparse
import sys

import torch

import encoders
import minilm
import ops
import optimizers
import store

WORST_SHOWN = 5
# Five times the worst that was measured; a wrong formula is far above it.
FAR = 1e-4


def compare(name, build):
    rows, rounding = store.differences(name, build(torch.float32)[0])
    size = (store.HERE / name).stat().st_size
    print(
        f"{name}: {size} bytes, {len(rows) + len(rounding)} tensors; "
        f"float32 differs by at most {rows[0][0]:.1e} of a tensor's largest value"
    )
    for relative, absolute, scale, key in rows[:WORST_SHOWN]:
        print(f"    {relative:.1e}  |difference| {absolute:.1e}  largest {scale:.1e}  {key}")
    if rounding:
        worst = max(rounding, key=lambda row: row[1])
        print(f"    only rounding: |difference| {worst[1]:.1e}  {worst[3]} and {len(rounding) - 1} more")
    return rows[0][0] <= FAR


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", help="directory of all-MiniLM-L6-v2")
    parser.add_argument("--check", action="store_true", help="compare the files as they are")
    arguments = parser.parse_args()
    # One thread: sums are then taken in the same order everywhere.
    torch.set_num_threads(1)
    builders = {
        "ops.safetensors": ops.build,
        "encoder.safetensors": encoders.build_encoder,
        "distilbert.safetensors": encoders.build_distilbert,
        "roberta.safetensors": encoders.build_roberta,
        "mpnet.safetensors": encoders.build_mpnet,
        "modernbert.safetensors": encoders.build_modernbert,
        "adamw.safetensors": optimizers.build,
    }
    if arguments.model:
        builders["minilm.safetensors"] = minilm.build(arguments.model)
    near = True
    for name, build in builders.items():
        if not arguments.check:
            store.save(name, *build(torch.float64))
        near &= compare(name, build)
    sys.exit(0 if near else 1)


if __name__ == "__main__":
    main()
