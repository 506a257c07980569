#!/usr/bin/env python3
"""Recall and time of faiss's graph and inverted lists, for `benches/examples/recall.rs` beside it: a table of markdown.

    pip install faiss-cpu
    lode encode MODEL labels.txt --out items.npy; lode encode MODEL queries.txt --out queries.npy
    ann.py items.npy queries.npy                                                 one thread, inner products, top 100
    cargo run --release -p benches --example recall items.npy queries.npy
"""
import sys
import time

import faiss
import numpy as np

TOP = 100


def searched(index, queries, batch, wanted):
    spent, ids = 0.0, []
    for first in range(0, min(wanted, len(queries)) - batch + 1, batch):
        part = queries[first:first + batch]
        since = time.process_time()
        found = index.search(part, TOP)[1]
        spent += time.process_time() - since
        ids.append(found)
    ids = np.concatenate(ids)
    return ids, 1e3 * spent / len(ids)


def row(name, index, queries, exact):
    for batch, wanted in ((1, 200), (1000, 1000)):
        ids, ms = searched(index, queries, batch, wanted)
        recall = lambda k: np.mean([len(np.intersect1d(a[:k], b[:k])) / k for a, b in zip(ids, exact)])
        print(f"| {name} | {batch} | {recall(10):.4f} | {recall(100):.4f} | {ms:.3f} |", flush=True)


def built(name, index, items):
    since = time.process_time()
    if not index.is_trained:
        index.train(items)
    index.add(items)
    print(f"{name}: built in {time.process_time() - since:.0f} s of one processor", file=sys.stderr)
    return index


def main():
    items, queries = (np.load(path).astype(np.float32) for path in sys.argv[1:3])
    faiss.omp_set_num_threads(1)
    flat = built("flat", faiss.IndexFlatIP(items.shape[1]), items)
    exact = flat.search(queries, TOP)[1]
    print("| search | queries at a time | R@10 | R@100 | ms a query |\n|---|---|---|---|---|")
    row("flat", flat, queries, exact)
    for m in (16, 32):
        graph = faiss.IndexHNSWFlat(items.shape[1], m, faiss.METRIC_INNER_PRODUCT)
        graph.hnsw.efConstruction = 200
        built(f"HNSW, M {m}", graph, items)
        for candidates in (100, 200, 400):
            graph.hnsw.efSearch = candidates
            row(f"HNSW, M {m}, {candidates} candidates", graph, queries, exact)
    lists = int(2 ** round(np.log2(np.sqrt(len(items)))))
    inverted = built("lists", faiss.IndexIVFFlat(
        faiss.IndexFlatIP(items.shape[1]), items.shape[1], lists, faiss.METRIC_INNER_PRODUCT), items)
    for probes in (8, 32, 64):
        inverted.nprobe = probes
        row(f"{probes} of {lists} lists", inverted, queries, exact)


main()
