"""Losses and gradients of sentence-transformers, for `train/tests/losses.rs`: losses.safetensors.

    python tests/golden/make_losses.py

Five anchors, their positives and five hard negatives are numbers, not texts: a model that hands them out stands in for an
encoder, another one for a guide. Of each loss the file has the value and the gradient of [anchors; positives; negatives]
before they are normalised. Needs torch, sentence-transformers (6.2.0) and its dependencies.
"""

import sentence_transformers
import torch
from sentence_transformers.sentence_transformer import losses
from store import draw, save
import numpy as np

WIDTH = 8
ROWS = 5


class Given(torch.nn.Module):
    """Hands out embeddings in the place of an encoder."""

    def __init__(self, parts):
        super().__init__()
        self.parts = parts
        self.tokenizer = type("Tokenizer", (), {"vocab": {}, "get_vocab": lambda self: {}})()
        self.max_seq_length = 8
        self.similarity_fn_name = "cosine"

    def forward(self, features):
        return {"sentence_embedding": self.parts[features["part"]]}


def features(count):
    return [{"part": i} for i in range(count)]


def main():
    rng = np.random.default_rng(31)
    parts = [draw(rng, (ROWS, WIDTH)) for _ in range(3)]
    # Positives lie near their anchors, and so do some negatives: a guide then has something to say.
    parts[1] = (parts[1] * 0.75 + parts[0]).float().double()
    parts[2] = (parts[2] * 1.25 + parts[0]).float().double()
    guides = [(part + 0.5 * draw(rng, (ROWS, WIDTH))).float().double() for part in parts]
    teacher = draw(rng, (ROWS, 2))
    tensors = {"embeddings": torch.cat(parts), "guide": torch.cat(guides), "teacher": teacher}

    def put(name, count, make, labels=None):
        given = [part.clone().requires_grad_() for part in parts[:count]]
        value = make(Given(given))(features(count), labels)
        value.backward()
        zero = torch.zeros(ROWS, WIDTH, dtype=torch.float64)
        grads = [part.grad if part.grad is not None else zero for part in given]
        tensors[f"{name}.loss"] = value.reshape(1)
        tensors[f"{name}.grad"] = torch.cat(grads)

    ranking = losses.MultipleNegativesRankingLoss
    every = ("query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc")
    put("in_batch", 2, lambda m: ranking(m))
    put("hard", 3, lambda m: ranking(m))
    put("directions", 2, lambda m: ranking(m, directions=every))
    put("hardness", 3, lambda m: ranking(m, hardness_mode="all_negatives", hardness_strength=9.0))
    put("symmetric", 2, lambda m: losses.MultipleNegativesSymmetricRankingLoss(m))

    def gist(model, **options):
        loss = losses.GISTEmbedLoss.__new__(losses.GISTEmbedLoss)
        torch.nn.Module.__init__(loss)
        # The constructor asks a guide for its tokenizer; what it would set is set here.
        loss.model, loss.guide = model, Given(guides)
        loss.temperature, loss.similarity_fct = 0.05, torch.nn.CosineSimilarity(dim=-1)
        loss.margin_strategy, loss.margin = options["strategy"], options["margin"]
        loss.contrast_anchors = loss.contrast_positives = True
        loss.gather_across_devices = loss.must_retokenize = False
        loss.cross_entropy_loss = torch.nn.CrossEntropyLoss()
        return loss

    put("gist_absolute", 3, lambda m: gist(m, strategy="absolute", margin=0.1))
    put("gist_relative", 2, lambda m: gist(m, strategy="relative", margin=0.4))

    cosine = losses.TripletDistanceMetric.COSINE
    put("triplet", 3, lambda m: losses.TripletLoss(m, distance_metric=cosine, triplet_margin=0.3))
    put("margin_mse", 3, lambda m: losses.MarginMSELoss(m), (teacher[:, 0] - teacher[:, 1]))
    put("distil", 3, lambda m: losses.DistillKLDivLoss(m, student_temperature=2.0, teacher_temperature=0.5), teacher)

    def every_pair(make):
        """A loss over pairs and their values: 1 for an anchor and its positive, 0 for it and any other text."""

        def compute(model, features, labels):
            columns = torch.cat(model.parts[1:])
            pairs = [model.parts[0].repeat_interleave(len(columns), 0), columns.repeat(ROWS, 1)]
            values = torch.eye(ROWS, len(columns), dtype=torch.float64).reshape(-1)
            return make(Given(pairs))(features[:2], values)

        return lambda model: lambda features, labels: compute(model, features, labels)

    put("cosent", 2, every_pair(losses.CoSENTLoss))
    put("cosent_hard", 3, every_pair(losses.CoSENTLoss))
    put("angle", 2, every_pair(losses.AnglELoss))
    put("angle_hard", 3, every_pair(losses.AnglELoss))
    save("losses.safetensors", tensors, {"made_by": "tests/golden/make_losses.py",
         "sentence_transformers": sentence_transformers.__version__})


main()
