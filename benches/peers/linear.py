#!/usr/bin/env python3
"""Linear trees over TF-IDF, and TF-IDF without training, on the same split and with the same metrics as `lode evaluate`.

    pip install omikuji cffi scikit-learn 'scipy<1.11' 'numpy<2'
    pip install --no-deps libpecos          # it names PyTorch, which XR-Linear does not use
    linear.py parabel|xr-linear|tf-idf|tf-idf-near FOLDER [--threads N]

FOLDER holds trn, tst, lbl as JSON lines (gzip or not) and filter files, as `lode prepare` reads them. Features: the words
of training titles, sublinear TF-IDF, rows of length 1. Without training words are those of titles and labels, as in `lode demo`
(`samplers/src/tfidf.rs`): cosines to label texts; `tf-idf-near` adds the squared cosines of the 20 nearest titles for their
labels. Prints one line of JSON: metrics in percent, seconds.
"""
import argparse
import gzip
import json
import os
import tempfile
import time

import numpy as np
import scipy.sparse as sp

METRICS = ["P@1", "P@3", "P@5", "nDCG@5", "R@10", "R@100", "PSP@1", "PSP@3", "PSP@5"]


def rows(folder, name):
    for ending, opened in ((".jsonl.gz", gzip.open), (".json.gz", gzip.open), (".jsonl", open), (".json", open)):
        if os.path.exists(path := f"{folder}/{name}{ending}"):
            with opened(path, "rt", encoding="utf-8") as file:
                return [json.loads(line) for line in file]
    raise SystemExit(f"{folder}: there is no {name}.jsonl")


def filters(folder, queries):
    found = [set() for _ in range(queries)]
    if os.path.exists(path := f"{folder}/filter_labels_test.txt"):
        for row, label in (map(int, line.split()) for line in open(path) if line.strip()):
            found[row].add(label)
    return found


def parabel(x, y, test, threads, depth):
    import omikuji

    # omikuji reads a file: header, then labels and features of a row, of which each must have one.
    kept = np.flatnonzero((np.diff(x.indptr) > 0) & (np.diff(y.indptr) > 0))
    x, y = x[kept], y[kept]
    handle, path = tempfile.mkstemp()
    with os.fdopen(handle, "w") as out:
        out.write(f"{x.shape[0]} {x.shape[1]} {y.shape[1]}\n")
        for i in range(x.shape[0]):
            labels = ",".join(map(str, y.indices[y.indptr[i]:y.indptr[i + 1]]))
            span = range(x.indptr[i], x.indptr[i + 1])
            out.write(labels + " " + " ".join(f"{x.indices[j]}:{x.data[j]:.6f}" for j in span) + "\n")
    params = omikuji.Model.default_hyper_param()
    model = omikuji.Model.train_on_data(path, params, threads)
    os.remove(path)
    for i in range(test.shape[0]):
        span = range(test.indptr[i], test.indptr[i + 1])
        features = [(int(test.indices[j]), float(test.data[j])) for j in span]
        yield [label for label, _ in model.predict(features, top_k=depth)]


def xr_linear(x, y, test, threads, depth):
    from pecos.xmc import Indexer, LabelEmbeddingFactory
    from pecos.xmc.xlinear.model import XLinearModel

    x, y, test = (m.astype(np.float32).tocsr() for m in (x, y, test))
    labels = LabelEmbeddingFactory.create(y, x, method="pifa")
    tree = Indexer.gen(labels, indexer_type="hierarchicalkmeans", nr_splits=16, threads=threads)
    model = XLinearModel.train(x, y, C=tree, threads=threads)
    found = model.predict(test, only_topk=depth, beam_size=max(20, depth), threads=threads).tocsr()
    for i in range(found.shape[0]):
        span = slice(found.indptr[i], found.indptr[i + 1])
        yield found.indices[span][np.argsort(-found.data[span], kind="stable")].tolist()


def tf_idf(x, y, test, names, near, depth):
    """Cosines to label texts, with the votes of `near` titles."""
    for start in range(0, test.shape[0], 256):
        block = test[start:start + 256]
        scores = (block @ names.T).toarray()
        if near:
            cosines = (block @ x.T).toarray()
            nearest = np.argpartition(-cosines, near, axis=1)[:, :near]
            votes = np.take_along_axis(cosines, nearest, 1).ravel() ** 2
            places = (np.repeat(np.arange(len(nearest)), near), nearest.ravel())
            scores += (sp.csr_matrix((votes, places), cosines.shape) @ y).toarray()
        best = np.argpartition(-scores, depth, axis=1)[:, :depth]
        order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
        yield from np.take_along_axis(best, order, 1).tolist()


def measured(rankings, truth, frequency, queries):
    c = (np.log(queries) - 1) * 2.5**0.55
    weight = 1 + c * (frequency + 1.5) ** -0.55
    discount = 1 / np.log2(np.arange(2, 102))
    sums, best = dict.fromkeys(METRICS, 0.0), {k: 0.0 for k in (1, 3, 5)}
    for ranked, right in zip(rankings, truth):
        hit = np.array([label in right for label in ranked] + [False] * 100, float)[:100]
        gains = np.array([weight[label] for label in ranked] + [0.0] * 100)[:100] * hit
        ideal = sorted((weight[label] for label in right), reverse=True)
        for k in (1, 3, 5):
            sums[f"P@{k}"] += hit[:k].sum() / k
            sums[f"PSP@{k}"] += gains[:k].sum()
            best[k] += sum(ideal[:k])
        if right:
            sums["nDCG@5"] += (hit[:5] * discount[:5]).sum() / discount[: min(5, len(right))].sum()
            for k in (10, 100):
                sums[f"R@{k}"] += hit[:k].sum() / len(right)
    n = len(truth)
    share = lambda name: sums[name] / (best[int(name[4:])] if name.startswith("PSP") else n)
    return {name: round(100 * share(name), 2) for name in METRICS}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=["parabel", "xr-linear", "tf-idf", "tf-idf-near"])
    parser.add_argument("folder")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    from sklearn.feature_extraction.text import TfidfVectorizer

    train, test = rows(args.folder, "trn"), rows(args.folder, "tst")
    labels = [row["title"] for row in rows(args.folder, "lbl")]
    vectors = TfidfVectorizer(sublinear_tf=True, dtype=np.float32)
    titles, untrained = [row["title"] for row in train], args.method.startswith("tf-idf")
    vectors.fit(titles + labels if untrained else titles)
    x = vectors.transform(titles).sorted_indices()
    seen = [sorted(set(row["target_ind"])) for row in train]
    starts = np.cumsum([0] + [len(row) for row in seen])
    columns = np.array([label for row in seen for label in row], np.int32)
    y = sp.csr_matrix((np.ones(len(columns), np.float32), columns, starts), shape=(len(train), len(labels)))
    left_out = filters(args.folder, len(test))
    depth = 100 + max(map(len, left_out))
    since = time.process_time(), time.perf_counter()
    queries = vectors.transform(row["title"] for row in test).sorted_indices()
    if untrained:
        found = list(tf_idf(x, y, queries, vectors.transform(labels), 20 if args.method == "tf-idf-near" else 0, depth))
    else:
        found = list((parabel if args.method == "parabel" else xr_linear)(x, y, queries, args.threads, depth))
    cpu, wall = time.process_time() - since[0], time.perf_counter() - since[1]
    rankings = [[label for label in row if label not in out][:100] for row, out in zip(found, left_out)]
    truth = [set(row["target_ind"]) - out for row, out in zip(test, left_out)]
    frequency = np.asarray(y.sum(0)).ravel()
    result = measured(rankings, truth, frequency, len(train))
    print(json.dumps({"method": args.method, **result, "cpu_s": round(cpu, 1), "wall_s": round(wall, 1)}))


main()
