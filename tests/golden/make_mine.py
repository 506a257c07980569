"""Makes mine.json: hard negatives that sentence-transformers' `mine_hard_negatives` finds on cranfield.

Run: python make_mine.py MODEL_DIR CRANFIELD_DIR   (sentence-transformers, datasets, torch; MODEL_DIR is all-MiniLM-L6-v2)

Six sets of options; together they use every rule. Documents and queries stand in the file by their ids in cranfield. The
texts are those that `lode prepare` makes: the title, a space, the text. Scores are millionths, rounded.

    model, versions
    sets.NAME.options           what was given to `mine_hard_negatives`
    sets.NAME.rows              how many rows the library's data set has
    sets.NAME.negatives.QUERY   [documents, scores], best first; the same for each positive of a query
    positives.QUERY             [documents, scores], without prompts, exactly as f32
    candidates.QUERY            [documents, scores] of some queries: the best of all documents, exactly as f32

`sampling_strategy="random"` is used where the window holds as many as are wanted, so that chance decides nothing.
"""
import collections
import json
import os
import random
import sys

import datasets
import numpy as np
import sentence_transformers
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.util import mine_hard_negatives

SETS = {
    "default": {"output_format": "triplet"},
    "relative": {"relative_margin": 0.05, "num_negatives": 5, "output_format": "labeled-list"},
    "absolute": {"absolute_margin": 0.1, "range_min": 2, "range_max": 40, "num_negatives": 5, "query_prompt": "query: ",
                 "output_format": "n-tuple"},
    "limits": {"max_score": 0.6, "min_score": 0.35, "num_negatives": 4, "output_format": "labeled-pair"},
    "all": {"absolute_margin": 0.02, "relative_margin": 0.03, "max_score": 0.65, "min_score": 0.3, "range_min": 5,
            "range_max": 12, "num_negatives": 7, "sampling_strategy": "random", "output_format": "triplet"},
    "ranking": {"include_positives": True, "num_negatives": 10, "corpus_prompt": "passage: ", "output_format": "n-tuple"},
}
# Queries whose candidates are written, and how many of each.
SHOWN, DEPTH = 12, 140


def lines(path):
    return [json.loads(line) for line in open(path, encoding="utf-8")]


def text(row):
    title, rest = row.get("title", "").strip(), row["text"].strip()
    return f"{title} {rest}".strip() if title else rest


def millionths(scores):
    return [round(float(s) * 1e6) for s in scores]


def by_query(mined, options, queries, documents, known):
    """The negatives of each query, from rows of whatever format; demands that the rows of a query agree."""
    found = {}
    for row in mined:
        cells = list(row.values())
        query, scores = queries[cells[0]], cells[-1]
        kind = options["output_format"]
        if kind == "labeled-pair":
            document = documents[cells[1]]
            ids, values = found.setdefault(query, ([], []))
            if document not in known[query]:
                ids.append(document)
                values.append(scores)
            continue
        texts = cells[1][1:] if kind == "labeled-list" else cells[2:-1]
        row = ([documents[t] for t in texts], list(scores[1:]))
        if kind == "triplet":
            ids, values = found.setdefault(query, ([], []))
            if row[0][0] not in ids:
                ids.append(row[0][0])
                values.append(row[1][0])
            continue
        assert found.setdefault(query, row)[0] == row[0], query
    return {query: [ids, millionths(scores)] for query, (ids, scores) in found.items()}


def main(model_dir, data):
    torch.set_num_threads(1)
    corpus = {row["_id"]: text(row) for row in lines(os.path.join(data, "corpus.jsonl"))}
    asked = {row["_id"]: row["text"].strip() for row in lines(os.path.join(data, "queries.jsonl"))}
    documents, queries = {}, {}
    for ids, texts in ((documents, corpus), (queries, asked)):
        for key, value in texts.items():
            ids.setdefault(value, int(key))
    pairs = [line.split("\t") for line in open(os.path.join(data, "qrels/test.tsv"))][1:]
    pairs = [(q, d) for q, d, score in pairs if float(score) >= 0]
    known = collections.defaultdict(set)
    for q, d in pairs:
        known[queries[asked[q]]].add(documents[corpus[d]])
    rows = datasets.Dataset.from_dict({"anchor": [asked[q] for q, _ in pairs], "positive": [corpus[d] for _, d in pairs]})
    model = SentenceTransformer(model_dir, device="cpu")
    sets = {}
    for name, options in SETS.items():
        random.seed(0)
        mined = mine_hard_negatives(rows, model, corpus=list(corpus.values()), output_scores=True, verbose=True, **options)
        sets[name] = {"options": options, "rows": len(mined), "negatives": by_query(mined, options, queries, documents, known)}
    # The scores behind the sets without prompts, for tests of the rules alone.
    order = list(dict.fromkeys(corpus.values()))
    shown = list(dict.fromkeys(asked[q] for q, _ in pairs))[:SHOWN]
    d = model.encode_document(order, normalize_embeddings=True)
    q = model.encode_query(shown, normalize_embeddings=True)
    scores, places = torch.topk(model.similarity(q, torch.as_tensor(d)), DEPTH, dim=1)
    exact = lambda values: [float(str(np.float32(v))) for v in values]
    candidates, positives = {}, {}
    for i, query in enumerate(shown):
        candidates[queries[query]] = [[documents[order[j]] for j in places[i]], exact(scores[i])]
        mine = sorted(known[queries[query]])
        at = [order.index(corpus[str(document)]) for document in mine]
        pair = model.similarity_pairwise(torch.as_tensor(q[[i] * len(at)]), torch.as_tensor(d[at]))
        positives[queries[query]] = [mine, exact(pair)]
    counts = collections.Counter(q for q, _ in pairs)
    made = {"sentence-transformers": sentence_transformers.__version__, "torch": torch.__version__}
    golden = {"model": "all-MiniLM-L6-v2", "versions": made, "positives_max": max(counts.values()), "sets": sets,
              "positives": positives, "candidates": candidates}
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "mine.json")
    with open(path, "w") as out:
        out.write(json.dumps(golden, separators=(",", ":")).replace('},"', '},\n"').replace(']],"', ']],\n"') + "\n")
    print(path, os.path.getsize(path), "bytes")


if __name__ == "__main__":
    main(*sys.argv[1:3])
