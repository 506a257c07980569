"""Measures a ranking with pyxclib, reciprocal pairs taken out as its users do, and compares with `lode evaluate`.

usage: PYTHONPATH=PYXCLIB python tests/golden/check_xclib.py SOURCE SCORES.txt MEASURED.json

    cp -r SOURCE BARE; rm BARE/filter_labels_*                # the same data without its filter
    lode prepare BARE --out bare.lode --tokenizer MODEL; lode prepare SOURCE --out data.lode --tokenizer MODEL
    lode evaluate RUN bare.lode --spmat SCORES.txt -k 300
    lode evaluate RUN data.lode --json --metrics P@1,P@3,P@5,nDCG@1,nDCG@3,nDCG@5,PSP@1,PSP@3,PSP@5,\
PSnDCG@1,PSnDCG@3,PSnDCG@5,R@10,R@100 > MEASURED.json

SOURCE is a folder of the extreme classification repository (trn, tst and lbl as .jsonl.gz, filter_labels_test.txt).
NGAME keeps 300 labels a query, sets the scores of the pairs in the filter to nothing, and gives the rest to pyxclib;
the same is done here, with our order of equal scores (the smaller label first). Every value must be within 2e-6: ours are
printed with six digits, and pyxclib holds nDCG in f32. Needs numpy, scipy and a copy of pyxclib
(github.com/kunaldahiya/pyxclib).
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from xclib.evaluation import xc_metrics

A, B, DEPTH, LARGEST = 0.55, 1.5, 100, 2e-6


def truth(path, labels):
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line)["target_ind"] for line in lines]
    starts = np.cumsum([0] + [len(row) for row in rows])
    matrix = sp.csr_matrix((np.ones(starts[-1]), np.concatenate(rows).astype(np.int64), starts), (len(rows), labels))
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def scores(path):
    with open(path, encoding="utf-8") as lines:
        shape = tuple(map(int, next(lines).split()))
        rows = [[pair.split(":") for pair in line.split()] for line in lines]
    starts = np.cumsum([0] + [len(row) for row in rows])
    labels = np.array([int(label) for row in rows for label, _ in row])
    values = np.array([float(value) for row in rows for _, value in row])
    # Ranks in the place of scores: pyxclib leaves the order of equal ones open, and a zero is lost in a sparse matrix.
    order = np.lexsort((labels, -values, np.repeat(np.arange(len(rows)), np.diff(starts))))
    ranks = np.arange(len(order)) - np.repeat(starts[:-1], np.diff(starts))
    values[order] = starts[-1] - ranks
    return sp.csr_matrix((values, labels, starts), shape)


def main():
    source, ranked, measured = Path(sys.argv[1]), scores(sys.argv[2]), json.loads(Path(sys.argv[3]).read_text())
    train, test = (truth(source / f"{name}.jsonl.gz", ranked.shape[1]) for name in ("trn", "tst"))
    pairs = np.loadtxt(source / "filter_labels_test.txt", dtype=np.int64)
    filtered = ranked.tolil()
    filtered[pairs[:, 0], pairs[:, 1]] = 0
    filtered = filtered.tocsr()
    filtered.eliminate_zeros()
    changed = {}
    for name, matrix in (("with", filtered), ("without", ranked)):
        inverse = xc_metrics.compute_inv_propesity(train, A, B)
        values = xc_metrics.Metrics(test, inverse).eval(matrix, 5)
        changed[name] = {f"{m}@{k}": float(v[k - 1]) for m, v in zip(("P", "nDCG", "PSP", "PSnDCG"), values) for k in (1, 3, 5)}
        recall = np.ravel(xc_metrics.recall(matrix, test, DEPTH))
        changed[name] |= {f"R@{k}": float(recall[k - 1]) for k in (10, 100)}
    ours = measured
    worst = 0.0
    print(f"{test.shape[0]} queries, {test.shape[1]} labels, {len(pairs)} pairs filtered")
    print(f"{'':10} {'lode':>10} {'pyxclib':>10} {'unfiltered':>10}")
    for metric, theirs in changed["with"].items():
        worst = max(worst, abs(ours[metric] - theirs))
        print(f"{metric:10} {ours[metric]:10.6f} {theirs:10.6f} {changed['without'][metric]:10.6f}")
    print(f"max |difference| {worst:.1e}")
    # Written so that NaN fails too.
    if not worst <= LARGEST:
        sys.exit(f"above {LARGEST:.0e}")


main()
