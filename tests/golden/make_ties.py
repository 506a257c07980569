"""Makes ties.json: scores with many equals, and what pytrec_eval makes of them in its own order of equal scores.

Run: python make_ties.py   (numpy, pytrec_eval-terrier)
"""
import json
import os

import numpy as np
import pytrec_eval

SEED, QUERIES, LABELS, K = 20260901, 40, 60, 5
rng = np.random.default_rng(SEED)
# Ids of unlike length, so that the order of bytes is neither that of numbers nor that of lines.
ids = [f"{'dé'[i % 2]}{rng.integers(0, 10**int(rng.integers(1, 5)))}-{i}" for i in range(LABELS)]
scores = rng.integers(0, 6, (QUERIES, LABELS))
truths = [sorted(rng.choice(LABELS, int(rng.integers(1, 9)), replace=False).tolist()) for _ in range(QUERIES)]

qrel = {str(i): {ids[label]: 1 for label in y} for i, y in enumerate(truths)}
run = {str(i): {ids[label]: float(s) for label, s in enumerate(row)} for i, row in enumerate(scores)}
names = {f"P@{K}": f"P_{K}", f"nDCG@{K}": f"ndcg_cut_{K}", f"R@{K}": f"recall_{K}", f"MRR@{LABELS}": "recip_rank"}
measures = {f"P.{K}", f"ndcg_cut.{K}", f"recall.{K}", "recip_rank"}
theirs = pytrec_eval.RelevanceEvaluator(qrel, measures).evaluate(run)

out = {
    "seed": SEED, "ids": ids, "scores": scores.tolist(), "truths": truths,
    "metrics": {ours: [theirs[str(i)][name] for i in range(QUERIES)] for ours, name in names.items()},
}
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ties.json")
with open(path, "w") as file:
    json.dump(out, file, separators=(",", ":"))
    file.write("\n")
