"""cross/bert, cross/roberta: tiny cross-encoders with random weights, and what sentence-transformers says of some pairs.

Run: python make_cross.py   (sentence-transformers, transformers, torch)

Each folder is a model directory (config.json, model.safetensors, tokenizer.json) and pairs.json: texts, token ids, logits
and what `CrossEncoder.predict` gives, with the activation that the directory names. bert/mined.json is what
`mine_hard_negatives` finds with it as `cross_encoder`: every label is a candidate, so who embeds does not matter.
learned.json is what three plain steps make of it without dropout, by either loss over lists of pairs:
`python make_cross.py learned` writes that alone.
"""

import json
import random
import shutil
import sys
from pathlib import Path

import datasets
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.models import StaticEmbedding
from sentence_transformers.util import mine_hard_negatives
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertForSequenceClassification, RobertaConfig, RobertaForSequenceClassification

HERE = Path(__file__).resolve().parent / "cross"
WORDS = ["red", "blue", "green", "shoe", "boot", "lamp", "chair", "table", "of", "wood", "steel", "small", "large"]
SIZE = dict(
    hidden_size=16,
    num_hidden_layers=2,
    num_attention_heads=2,
    intermediate_size=32,
    num_labels=1,
    hidden_dropout_prob=0.1,
    attention_probs_dropout_prob=0.1,
)
PAIRS = [
    ("red shoe", "small boot of steel"),
    ("large lamp", "lamp"),
    ("chair of wood", "table of wood"),
    ("blue", "red red red red red red red red"),
    ("", "green"),
    # Longer than 16 tokens together: one is cut, and both are.
    ("small large", "red blue green shoe boot lamp chair table of wood steel small large red blue"),
    ("red blue green shoe boot lamp chair table", "red blue green shoe boot lamp chair table of"),
]


def tokenizer(family):
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"] if family == "bert" else ["<s>", "<pad>", "</s>", "<unk>"]
    words = {word: i for i, word in enumerate(special + WORDS)}
    unknown, (first, last) = special[1 if family == "bert" else 3], (("[CLS]", "[SEP]") if family == "bert" else ("<s>", "</s>"))
    made = Tokenizer(models.WordLevel(words, unk_token=unknown))
    made.normalizer, made.pre_tokenizer = normalizers.Lowercase(), pre_tokenizers.Whitespace()
    ids = [(first, words[first]), (last, words[last])]
    if family == "bert":
        pair = f"{first} $A {last} $B:1 {last}:1"
    else:
        pair = f"{first} $A {last} {last} $B {last}"
    made.post_processor = processors.TemplateProcessing(single=f"{first} $A {last}", pair=pair, special_tokens=ids)
    return made, len(words)


def model(family, vocabulary):
    if family == "bert":
        config = BertConfig(vocab_size=vocabulary, max_position_embeddings=16, type_vocab_size=2, **SIZE)
        return BertForSequenceClassification(config)
    config = RobertaConfig(
        vocab_size=vocabulary, max_position_embeddings=18, type_vocab_size=1, pad_token_id=1, layer_norm_eps=1e-5, **SIZE
    )
    # A raw score is what this one gives.
    config.sentence_transformers = {"activation_fn": "torch.nn.modules.linear.Identity"}
    return RobertaForSequenceClassification(config)


def mine(cross):
    words, rng = WORDS, random.Random(5)
    labels = sorted({" ".join(rng.choices(words, k=rng.randint(1, 3))) for _ in range(60)})
    queries = [" ".join(rng.choices(words, k=4)) for _ in range(25)]
    pairs = [(query, label) for query in dict.fromkeys(queries) for label in rng.sample(labels, rng.randint(1, 2))]
    embedder = SentenceTransformer(modules=[StaticEmbedding(tokenizer("bert")[0], embedding_dim=8)])
    options = {"relative_margin": 0.02, "num_negatives": 6, "range_min": 1, "range_max": len(labels), "min_score": 0.3}
    mined = mine_hard_negatives(
        datasets.Dataset.from_dict({"anchor": [a for a, _ in pairs], "positive": [b for _, b in pairs]}),
        embedder,
        corpus=labels,
        cross_encoder=cross,
        output_format="labeled-list",
        output_scores=True,
        batch_size=1,
        verbose=False,
        **options,
    )
    found = {}
    for row in mined:
        # With scores in the place of labels.
        anchor, texts, scores = row.values()
        found[anchor] = [texts[1:], [float(score) for score in scores[1:]]]
    return {"options": options, "labels": labels, "pairs": pairs, "negatives": found}


# Lists of pairs, numbers of PAIRS: the first of each is the right one.
LISTS = [[0, 1, 2], [3, 4], [5, 6, 2, 1]]


def learn(folder, of):
    """Losses before three steps, and the logits of all pairs after them."""
    rows = json.loads((folder / "pairs.json").read_text())
    kind = BertForSequenceClassification if folder.name == "bert" else RobertaForSequenceClassification
    net = kind.from_pretrained(folder).eval()
    # Plain steps: Adam's would be as long where a gradient is nothing but rounding.
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)

    def logit(row):
        ids = torch.tensor([row["ids"]])
        if folder.name != "bert":
            return net(input_ids=ids).logits[0, 0]
        second = row["ids"].index(3) + 1
        types = torch.tensor([[int(i >= second) for i in range(len(row["ids"]))]])
        return net(input_ids=ids, token_type_ids=types).logits[0, 0]

    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        parts = []
        for numbers in LISTS:
            logits = torch.stack([logit(rows[number]) for number in numbers])
            labels = torch.tensor([1.0] + [0.0] * (len(numbers) - 1))
            if of == "softmax":
                parts.append(torch.nn.functional.cross_entropy(logits[None], torch.tensor([0])))
            else:
                parts.append(torch.nn.functional.binary_cross_entropy_with_logits(logits, labels))
        loss = torch.stack(parts).mean()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    with torch.no_grad():
        return {"losses": losses, "logits": [logit(row).item() for row in rows]}


def learned():
    for folder in (HERE / "bert", HERE / "roberta"):
        found = {of: learn(folder, of) for of in ("softmax", "pairs")}
        (folder / "learned.json").write_text(json.dumps({"lists": LISTS, "rate": 0.1, **found}, indent=1) + "\n")


def main():
    if sys.argv[1:] == ["learned"]:
        return learned()
    for family in ("bert", "roberta"):
        torch.manual_seed(7)
        folder = HERE / family
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        made, vocabulary = tokenizer(family)
        net = model(family, vocabulary).eval()
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.3)
        net.save_pretrained(folder)
        made.save(str(folder / "tokenizer.json"))
        special = ("[PAD]", "[UNK]", "[CLS]", "[SEP]") if family == "bert" else ("<pad>", "<unk>", "<s>", "</s>")
        names = dict(zip(("pad_token", "unk_token", "cls_token", "sep_token"), special))
        (folder / "tokenizer_config.json").write_text(
            json.dumps(
                {
                    "tokenizer_class": "PreTrainedTokenizerFast",
                    "model_max_length": 16,
                    # Without this the library leaves the types of a pair away.
                    "model_input_names": ["input_ids", "token_type_ids", "attention_mask"][:: 1 if family == "bert" else 2],
                    **names,
                }
            )
            + "\n"
        )
        cross = CrossEncoder(str(folder), device="cpu")
        predicted = cross.predict(PAIRS, batch_size=1, convert_to_numpy=True)
        rows = []
        for (first, second), value in zip(PAIRS, predicted):
            made.enable_truncation(16)
            encoded = made.encode(first, second)
            types = {"token_type_ids": torch.tensor([encoded.type_ids])} if family == "bert" else {}
            with torch.no_grad():
                logit = net(input_ids=torch.tensor([encoded.ids]), **types).logits.item()
            rows.append({"first": first, "second": second, "ids": encoded.ids, "logit": logit, "predicted": float(value)})
        (folder / "pairs.json").write_text(json.dumps(rows, indent=1) + "\n")
        if family == "bert":
            (folder / "mined.json").write_text(json.dumps(mine(cross), indent=1) + "\n")
    learned()


main()
