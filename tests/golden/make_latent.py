"""Makes latents.safetensors: the BERT of encoder.safetensors with the latent attention of NV-Embed before the mean.

usage: python tests/golden/make_latent.py [--check]      (torch, transformers)

The modules are those of the released modeling_nvembed.py (Lee et al. 2024), with their names: PreNorm, Attention over
a table without biases, GEGLU with the second half in the gelu. --check writes nothing and compares only. Parameters of
the BERT are in encoder.safetensors and not here; of its gradients two are.
"""

import sys

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import encoders
import store

NAME = "latents.safetensors"
LATENTS, HEADS, CHANNELS = 10, 3, 12
SHOWN = ("embeddings.word_embeddings.weight", "encoder.layer.1.attention.self.value.weight")


class PreNorm(nn.Module):
    def __init__(self, dim, fn, context=None):
        super().__init__()
        self.fn, self.norm = fn, nn.LayerNorm(dim)
        self.norm_context = nn.LayerNorm(context) if context else None

    def forward(self, x, context=None):
        if self.norm_context is None:
            return self.fn(self.norm(x))
        return self.fn(self.norm(x), self.norm_context(context))


class GEGLU(nn.Module):
    def forward(self, x):
        x, gates = x.chunk(2, dim=-1)
        return x * F.gelu(gates)


class FeedForward(nn.Module):
    def __init__(self, dim, mult=4):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(dim, dim * mult * 2), GEGLU(), nn.Linear(dim * mult, dim))

    def forward(self, x):
        return self.net(x)


class Attention(nn.Module):
    def __init__(self, dim, heads, channels):
        super().__init__()
        self.heads = heads
        self.to_q = nn.Linear(dim, heads * channels, bias=False)
        self.to_kv = nn.Linear(dim, heads * channels * 2, bias=False)
        self.to_out = nn.Linear(heads * channels, dim, bias=False)

    def forward(self, x, context):
        q, (k, v) = self.to_q(x), self.to_kv(context).chunk(2, dim=-1)
        q, k, v = (t.unflatten(-1, (self.heads, -1)).transpose(-3, -2) for t in (q, k, v))
        return self.to_out(F.scaled_dot_product_attention(q, k, v).transpose(-3, -2).flatten(-2))


class LatentAttentionModel(nn.Module):
    def __init__(self, dim, latents, heads, channels):
        super().__init__()
        attention = PreNorm(dim, Attention(dim, heads, channels), context=dim)
        self.cross_attend_blocks = nn.ModuleList([attention, PreNorm(dim, FeedForward(dim))])
        self.latents = nn.Parameter(torch.empty(latents, dim))

    def forward(self, hidden):
        attention, feed_forward = self.cross_attend_blocks
        hidden = attention(hidden, context=self.latents) + hidden
        return feed_forward(hidden) + hidden


def build(dtype):
    bert, ids = encoders.start(dtype)
    rng = np.random.default_rng(store.SEED + 1)
    latents = encoders.randomise(LatentAttentionModel(32, LATENTS, HEADS, CHANNELS), rng, dtype)
    tokens, starts = encoders.pack(ids)
    # One text at a time, as the BERT reads them.
    hidden = encoders.hidden_states(bert, ids)[-1]
    rows = [latents(hidden[a:b]) for a, b in zip(starts[:-1].tolist(), starts[1:].tolist())]
    pooled = torch.stack([row.mean(0) for row in rows])
    e = encoders.normalise(pooled)
    loss = encoders.infonce(e[:3], e[3:])
    loss.backward()
    out = {"tokens": tokens, "starts": starts, "pooled": pooled, "embedding": e, "loss": loss.reshape(1)}
    for name, p in latents.named_parameters():
        name = f"latent_attention_model.{name}"
        out |= {f"param.{name}": p, f"grad.{name}": p.grad}
    out |= {f"grad.{name}": p.grad for name, p in bert.named_parameters() if name in SHOWN}
    return out, {
        "model": f"the BERT of encoder.safetensors, then LatentAttentionModel: {LATENTS} latents, {HEADS} heads of "
        f"{CHANNELS} channels, eps 1e-5, gelu (erf)",
        "loss": "InfoNCE, temperature 0.05, texts 0-2 queries, 3-5 labels; embedding = normalised mean",
        "made_by": "tests/golden/make_latent.py",
    }


def main():
    torch.set_num_threads(1)
    if "--check" not in sys.argv:
        store.save(NAME, *build(torch.float64))
    rows, _ = store.differences(NAME, build(torch.float32)[0])
    size = (store.HERE / NAME).stat().st_size
    print(f"{NAME}: {size} bytes, {len(rows)} tensors; float32 differs by at most {rows[0][0]:.1e} ({rows[0][3]})")


main()
