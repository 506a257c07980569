#!/usr/bin/env python3
"""Search, clustering and tokenizing by the tools that people use now, on the numbers that `compare.py` gives to both sides.

    works.py torch|faiss   ITEMS QUERIES WIDTH K     THREADS REPEATS OUT        exact search; ids → OUT
    works.py numpy         POINTS        WIDTH DEPTH THREADS REPEATS OUT        balanced clusters, 2^DEPTH; ids → OUT
    works.py tokenizers    MODEL TEXTS MAX_LEN       THREADS REPEATS OUT        ids of all texts → OUT

Files hold little-endian f32, u32 or lines of text. Prints one JSON object with processor and wall seconds, medians.
"""
import json
import os
import statistics
import sys
import time

work, *words = sys.argv[1:]
out, repeats, threads = words[-1], int(words[-2]), int(words[-3])
# The number of threads is read when the libraries are loaded.
os.environ.update(OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
os.environ.update(RAYON_NUM_THREADS=str(threads), TOKENIZERS_PARALLELISM=str(threads > 1).lower())

import numpy as np  # noqa: E402


def read(path, width):
    return np.fromfile(path, np.float32).reshape(-1, width)


def timed(call):
    seconds = []
    for _ in range(repeats):
        since = time.process_time(), time.perf_counter()
        result = call()
        seconds.append((time.process_time() - since[0], time.perf_counter() - since[1]))
    cpu, wall = map(statistics.median, zip(*seconds))
    return result, cpu, wall


def search_torch(items, queries, k):
    """A product and `topk` for some hundred queries at a time: all scores at once would leave the cache."""
    import torch

    torch.set_num_threads(threads)
    items, queries = torch.from_numpy(items), torch.from_numpy(queries)
    with torch.inference_mode():
        return timed(lambda: np.concatenate([(part @ items.t()).topk(k).indices.numpy() for part in queries.split(256)]))


def search_faiss(items, queries, k):
    import faiss

    faiss.omp_set_num_threads(threads)
    index = faiss.IndexFlatIP(items.shape[1])
    index.add(items)
    return timed(lambda: index.search(queries, k)[1])


def clusters(points, depth):
    """Balanced spherical 2-means, level by level, by the rule that NGAME published, with a sort a round."""
    draw, parts = np.random.default_rng(0), [np.arange(len(points))]
    for _ in range(depth):
        halves = []
        for part in parts:
            rows = points[part]
            centres, before = rows[draw.choice(len(part), 2, replace=False)], -2
            while True:
                order = np.argsort(rows @ (centres[1] - centres[0]))
                half = (len(part) + 1) // 2
                left, right = order[:half], order[half:]
                centres = np.stack([rows[left].mean(0), rows[right].mean(0)])
                centres /= np.linalg.norm(centres, axis=1, keepdims=True)
                now = ((rows[left] @ centres[0]).sum() + (rows[right] @ centres[1]).sum()) / len(part)
                if now - before < 1e-4:
                    break
                before = now
            halves += [part[left], part[right]]
        parts = halves
    return np.concatenate(parts)


def tokenize(model, texts, longest):
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(f"{model}/tokenizer.json")
    tokenizer.no_padding()
    tokenizer.enable_truncation(longest)
    encodings, cpu, wall = timed(lambda: tokenizer.encode_batch_fast(texts))
    return np.concatenate([encoding.ids for encoding in encodings]), cpu, wall


if work in ("torch", "faiss"):
    width, k = int(words[2]), int(words[3])
    items, queries = read(words[0], width), read(words[1], width)
    amount, found = len(queries), (search_torch if work == "torch" else search_faiss)(items, queries, k)
elif work == "numpy":
    points = read(words[0], int(words[1]))
    amount, found = len(points), timed(lambda: clusters(points, int(words[2])))
else:
    texts = open(words[1], encoding="utf8").read().splitlines()
    amount, found = len(texts), tokenize(words[0], texts, int(words[2]))
found[0].astype(np.uint32).tofile(out)
print(json.dumps(dict(amount=amount, cpu=found[1], wall=found[2])))
