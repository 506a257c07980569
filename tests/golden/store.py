"""Reading, writing and comparing golden files.

A golden file is in safetensors format: F32 values, I32 integers, string metadata. Every value is computed in
float64 from inputs that float32 holds exactly, then rounded once; so a reader in float32 sees only its own
rounding.
"""

import json
import struct
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
import transformers

HERE = Path(__file__).resolve().parent
SEED = 20
# A softmax does not see a shift of its row, so the gradient of a key's bias is zero by mathematics and
# rounding is all that it holds.
ROUNDING_ONLY = ("attention.self.key.bias", "attention.attn.k.bias")


def draw(rng, shape, std=1.0, mean=0.0):
    """Normal numbers that float32 holds exactly, as float64; NumPy's, so that torch versions agree."""
    return torch.from_numpy((mean + std * rng.standard_normal(shape)).astype(np.float32)).double()


def integers(values):
    return torch.tensor(np.asarray(values), dtype=torch.int32)


def versions():
    return {
        "seed": str(SEED),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "numpy": np.__version__,
        "made_by": "tests/golden/make_golden.py",
        "precision": "computed in float64 from inputs rounded to float32; results rounded once to float32",
    }


def save(name, tensors, notes):
    """Writes one file.

    The package writes metadata in hash order, so the header is written again, sorted: same input, same bytes.
    """
    stored = {}
    for key, tensor in tensors.items():
        tensor = tensor.detach()
        if tensor.is_floating_point():
            tensor = tensor.float()
        assert tensor.dtype in (torch.float32, torch.int32), (key, tensor.dtype)
        assert tensor.dtype == torch.int32 or bool(torch.isfinite(tensor).all()), key
        stored[key] = tensor.contiguous().clone()
    raw = safetensors.torch.save(stored, metadata={**versions(), **notes})
    length = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 8)
    (HERE / name).write_bytes(struct.pack("<Q", len(text)) + text + raw[8 + length :])


def load(name):
    with safetensors.safe_open(HERE / name, framework="pt") as file:
        return {key: file.get_tensor(key) for key in file.keys()}


def differences(name, single):
    """The stored file against the same work in float32: rows (relative, absolute, scale, key), worst first.

    Relative is to the largest value of the tensor. Tensors that hold only rounding come in a second list.
    """
    stored = load(name)
    assert stored.keys() == single.keys(), stored.keys() ^ single.keys()
    rows, rounding = [], []
    for key, want in stored.items():
        got = single[key].detach()
        assert got.shape == want.shape, key
        if want.dtype == torch.int32:
            assert torch.equal(got, want), key
            continue
        scale = float(want.abs().max())
        off = float((got.double() - want.double()).abs().max())
        # An initial parameter named so is an ordinary one.
        group = rounding if key.endswith(ROUNDING_ONLY) and not key.startswith("param.") else rows
        group.append((off / scale if scale else off, off, scale, key))
    return sorted(rows, reverse=True), sorted(rounding, reverse=True)
