#!/usr/bin/env python3
"""A training step of a BERT-shaped encoder in PyTorch, on the texts that `compare.py` gives to both sides.

Queries and labels of a batch are encoded together, mean-pooled, normalised; InfoNCE in the batch; AdamW. How the texts
meet the encoder is the question:

  --chunk 32    sorted by length and encoded 32 at a time, each chunk padded to its longest: what a careful user writes
  --chunk 0     all at once, padded to the longest: what sentence-transformers' trainer does

The first step is not counted. Prints one JSON object: real tokens (no padding), CPU and wall seconds, peak memory.
"""
import argparse
import json
import os
import resource
import time

parser = argparse.ArgumentParser()
parser.add_argument("texts", help="JSON lines: {query, label}")
parser.add_argument("model")
parser.add_argument("--chunk", type=int, default=32)
parser.add_argument("--steps", type=int, default=4)
parser.add_argument("--batch", type=int, default=256)
parser.add_argument("--max-len", type=int, default=32)
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--device", default="cpu")
parser.add_argument("--numbers", choices=["f32", "tf32", "bf16"], default="f32", help="what products multiply, on a device")
parser.add_argument("--compile", action="store_true", help="torch.compile the encoder")
args = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(args.threads)

import torch  # noqa: E402  (after the number of threads)
import torch.nn.functional as F  # noqa: E402
from transformers import AutoModel, AutoTokenizer  # noqa: E402

torch.set_num_threads(args.threads)
torch.manual_seed(0)
torch.backends.cuda.matmul.allow_tf32 = args.numbers == "tf32"
rows = [json.loads(line) for line in open(args.texts, encoding="utf8")]
tokenizer = AutoTokenizer.from_pretrained(args.model)
network = AutoModel.from_pretrained(args.model).to(args.device)
network.train()
optimizer = torch.optim.AdamW(network.parameters(), lr=1e-5, weight_decay=0.01, fused=True)
forward = torch.compile(network, dynamic=True) if args.compile else network


def encode(ids):
    longest = max(map(len, ids))
    tokens = torch.zeros(len(ids), longest, dtype=torch.long)
    mask = torch.zeros(len(ids), longest, dtype=torch.long)
    for i, text in enumerate(ids):
        tokens[i, : len(text)] = torch.tensor(text)
        mask[i, : len(text)] = 1
    tokens, mask = tokens.to(args.device), mask.to(args.device)
    with torch.autocast(torch.device(args.device).type, torch.bfloat16, enabled=args.numbers == "bf16"):
        hidden = forward(input_ids=tokens, attention_mask=mask).last_hidden_state.float()
    mean = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
    return F.normalize(mean, dim=-1)


def encode_all(ids):
    if not args.chunk:
        return encode(ids)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    parts = [encode([ids[i] for i in order[at : at + args.chunk]]) for at in range(0, len(order), args.chunk)]
    back = torch.empty(len(order), dtype=torch.long)
    back[torch.tensor(order)] = torch.arange(len(order))
    return torch.cat(parts)[back.to(args.device)]


def wait():
    """A device works behind the back of the processor."""
    if args.device != "cpu":
        torch.cuda.synchronize()


tokens, cpu, wall = 0, 0.0, 0.0
for step in range(args.steps + 1):
    batch = [rows[i % len(rows)] for i in range(step * args.batch, (step + 1) * args.batch)]
    texts = [row["query"] for row in batch] + [row["label"] for row in batch]
    ids = tokenizer(texts, truncation=True, max_length=args.max_len)["input_ids"]
    wait()
    since = time.process_time(), time.perf_counter()
    embeddings = encode_all(ids)
    scores = embeddings[: args.batch] @ embeddings[args.batch :].T / 0.05
    F.cross_entropy(scores, torch.arange(args.batch, device=args.device)).backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    wait()
    if step:
        tokens += sum(map(len, ids))
        cpu += time.process_time() - since[0]
        wall += time.perf_counter() - since[1]
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
engine = f"torch {torch.__version__}"
print(json.dumps(dict(engine=engine, amount=tokens, cpu=cpu, wall=wall, peak_rss_bytes=peak)))
