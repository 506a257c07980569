"""minilm.safetensors: loss and projected gradients of all-MiniLM-L6-v2 (Apache-2.0), from its directory.

A gradient g of n numbers, flattened row-major in the layout of the published file, is stored as ‖g‖ and
four projections ⟨g, r_k⟩, k = 0 … 3, with

    r_k[i] = (+1 if bit 0 of splitmix64(i + k·2^40 + 1) is set else −1)/√n

where in 64-bit wrapping arithmetic

    splitmix64(x):  z = x + 0x9E3779B97F4A7C15
                    z = (z xor (z >> 30)) · 0xBF58476D1CE4E5B9
                    z = (z xor (z >> 27)) · 0x94D049BB133111EB
                    return z xor (z >> 31)
"""

from pathlib import Path

import numpy as np
import tokenizers
import torch
from transformers import BertModel

from encoders import embed, infonce, pack

# Two topics, four or three texts each: the labels of a topic compete, so the loss is far from zero.
QUERIES = [
    "How long should sourdough rise before baking?",
    "How hot should the oven be for bread?",
    "Why is my bread so dense?",
    "sourdough starter feeding",
    "violin bow hold",
    "how to tune a violin",
    "violin for a child",
    "tax",
]
LABELS = [
    "Proofing times for naturally leavened bread",
    "Baking temperature and steam for crusty loaves",
    "Common faults in home-made loaves",
    "Keeping a wild yeast culture alive",
    "Right-hand technique for string players",
    "Pegs, fine tuners and perfect fifths",
    "Choosing the size of an instrument for young players",
    "Law",
]
PROJECTIONS = 4


def splitmix64(x):
    z = x + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def project(gradient):
    """Sums in float64 in either precision, so that only the gradient's own rounding is seen."""
    flat = gradient.detach().double().flatten().numpy()
    index = np.arange(len(flat), dtype=np.uint64)
    out = []
    for k in range(PROJECTIONS):
        bits = splitmix64(index + np.uint64((k << 40) + 1)) & np.uint64(1)
        out.append(float(np.dot(flat, 2.0 * bits - 1.0)) / len(flat) ** 0.5)
    return torch.tensor(out, dtype=torch.float64)


def build(directory):
    tokenizer = tokenizers.Tokenizer.from_file(str(Path(directory) / "tokenizer.json"))
    tokenizer.no_padding()
    ids = [np.array(tokenizer.encode(text).ids) for text in QUERIES + LABELS]

    def build_in(dtype):
        model = BertModel.from_pretrained(
            directory, add_pooling_layer=False, attn_implementation="eager", local_files_only=True
        )
        model = model.to(dtype).eval()
        embedding = embed(model, ids)
        loss = infonce(embedding[: len(QUERIES)], embedding[len(QUERIES) :])
        loss.backward()
        tokens, starts = pack(ids)
        out = {"tokens": tokens, "starts": starts, "embedding": embedding, "loss": loss.reshape(1)}
        for name, parameter in model.named_parameters():
            out[f"norm.{name}"] = parameter.grad.double().norm().reshape(1)
            out[f"projection.{name}"] = project(parameter.grad)
        signs = splitmix64(np.arange(16, dtype=np.uint64) + np.uint64(1)) & np.uint64(1)
        return out, {
            "model": "sentence-transformers/all-MiniLM-L6-v2 (Apache-2.0); values derived from it",
            "queries": "\n".join(QUERIES),
            "labels": "\n".join(LABELS),
            "loss": "InfoNCE, temperature 0.05, query to label, diagonal; normalised mean; no dropout",
            "texts": "tokens and starts hold the 8 queries, then the 8 labels",
            "norm": "Euclidean norm of the gradient of loss",
            "projection": "⟨g, r_k⟩, k = 0 … 3, r_k[i] = ±1/√n, "
            "+ where bit 0 of splitmix64(i + k·2^40 + 1) is set",
            "signs_k0": "".join("+" if s else "-" for s in signs),
        }

    return build_in
