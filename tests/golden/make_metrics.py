"""Makes metrics.json: random scores and truths, and every metric by a direct reading of its definition.

Run: python make_metrics.py   (numpy; pytrec_eval-terrier is used as a second opinion where it is installed)
"""
import json
import os

import numpy as np

SEED = 20160817
QUERIES, LABELS, N, A, B = 50, 40, 1234, 0.55, 1.5
DEPTH = 12
KS = [1, 3, 5, 10]

rng = np.random.default_rng(SEED)
frequency = np.floor(60 * rng.random(LABELS) ** 4).astype(int)
q = 1 + (np.log(N) - 1) * (B + 1) ** A * (frequency + B) ** (-A)

scores, truths, rankings = [], [], []
for i in range(QUERIES):
    s = rng.integers(0, 30, LABELS)  # eighths, so that f32 holds them exactly and ties are common
    candidates = LABELS if i % 7 else int(rng.integers(0, 5))  # some lists are shorter than k
    size = 0 if i % 11 == 5 else int(rng.integers(1, 9))
    y = sorted(rng.choice(LABELS, size, replace=False).tolist())
    for label in y:
        s[label] = min(s[label] + rng.integers(0, 25), 40)
    scores.append(s[:candidates].tolist())
    truths.append(y)
    rankings.append(sorted(range(candidates), key=lambda label: (-s[label], label))[:DEPTH])


def dcg(gains):
    gains = np.asarray(gains, float)
    return float(np.sum(gains / np.log2(np.arange(len(gains)) + 2)))


def per_query(name, k, r, y):
    hit = [float(label in y) for label in r[:k]]
    if name == "P":
        return sum(hit) / k
    if name == "nDCG":
        return dcg(hit) / dcg([1] * min(k, len(y))) if y else 0.0
    if name == "R":
        return sum(hit) / len(y) if y else 0.0
    if name == "MRR":
        return next((1 / (j + 1) for j, h in enumerate(hit) if h), 0.0)
    raise ValueError(name)


def ratio(name, k):
    gain = ideal = 0.0
    for r, y in zip(rankings, truths):
        if not y:
            continue
        earned = [q[label] if label in y else 0.0 for label in r[:k]]
        best = sorted((q[label] for label in y), reverse=True)[:k]
        if name == "PSP":
            gain, ideal = gain + sum(earned) / k, ideal + sum(best) / k
        else:
            unweighted = dcg([1] * min(k, len(y)))
            gain, ideal = gain + dcg(earned) / unweighted, ideal + dcg(best) / unweighted
    return gain / ideal


def coverage(k):
    wanted = {label for y in truths for label in y}
    found = {label for r, y in zip(rankings, truths) for label in r[:k] if label in y}
    return len(found) / len(wanted)


def second_opinion():
    try:
        import pytrec_eval
    except ImportError:
        return "not installed"
    qrel = {str(i): {str(label): 1 for label in y} for i, y in enumerate(truths) if y}
    for k in KS:
        # Ranks as scores: no ties, and the cut before MRR.
        by_rank = [{str(label): float(DEPTH - j) for j, label in enumerate(r[:k])} for r in rankings]
        run = {str(i): row for i, row in enumerate(by_rank)}
        run = {i: r for i, r in run.items() if i in qrel and r}
        names = {"P": f"P_{k}", "nDCG": f"ndcg_cut_{k}", "R": f"recall_{k}", "MRR": "recip_rank"}
        measures = {f"P.{k}", f"ndcg_cut.{k}", f"recall.{k}", "recip_rank"}
        theirs = pytrec_eval.RelevanceEvaluator(qrel, measures).evaluate(run)
        assert len(theirs) == len(run)
        for i, row in theirs.items():
            for name, their in names.items():
                ours = per_query(name, k, rankings[int(i)], truths[int(i)])
                assert abs(ours - row[their]) < 1e-9, (name, k, i, ours, row[their])
    return "agrees"


print("pytrec_eval:", second_opinion())
full, skipped = {}, {}
for k in KS:
    for name in ["P", "nDCG", "R", "MRR"]:
        values = [per_query(name, k, r, y) for r, y in zip(rankings, truths)]
        full[f"{name}@{k}"] = float(np.mean(values))
        skipped[f"{name}@{k}"] = float(np.mean([v for v, y in zip(values, truths) if y]))
    for name in ["PSP", "PSnDCG"]:
        full[f"{name}@{k}"] = skipped[f"{name}@{k}"] = float(ratio(name, k))
    full[f"C@{k}"] = skipped[f"C@{k}"] = coverage(k)

out = {
    "seed": SEED, "numpy": np.__version__, "queries": N, "a": A, "b": B, "depth": DEPTH,
    "frequency": frequency.tolist(), "inverse_propensity": q.tolist(), "scores_in_eighths": scores,
    "truths": truths, "rankings": rankings, "metrics": full, "metrics_skip_empty": skipped,
    "precision_rows": [per_query("P", 1, r, y) for r, y in zip(rankings, truths)],
}
path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "metrics.json")
with open(path, "w") as file:
    json.dump(out, file, separators=(",", ":"))
    file.write("\n")
