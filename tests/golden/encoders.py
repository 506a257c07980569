"""encoder, distilbert, roberta, mpnet and modernbert .safetensors: small encoders of transformers with random weights.

They read one text at a time, so that no padding takes part.
"""

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
    MPNetConfig,
    MPNetModel,
    RobertaConfig,
    RobertaModel,
)

from store import SEED, draw, integers

LENGTHS = [1, 2, 5, 9, 16, 3]
# Far enough for the wide buckets of distances, and for keys beyond a window.
LONG = [1, 2, 5, 9, 30, 3]
VOCABULARY = 50
TEMPERATURE = 0.05
WIDTH = dict(
    vocab_size=VOCABULARY,
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    hidden_act="gelu",
    hidden_dropout_prob=0.0,
    attention_probs_dropout_prob=0.0,
)


def bert():
    return BertModel(
        BertConfig(
            **WIDTH,
            max_position_embeddings=16,
            type_vocab_size=2,
            layer_norm_eps=1e-12,
            attn_implementation="eager",
        ),
        add_pooling_layer=False,
    )


def roberta():
    return RobertaModel(
        RobertaConfig(
            **WIDTH,
            max_position_embeddings=18,
            type_vocab_size=1,
            layer_norm_eps=1e-5,
            pad_token_id=1,
            attn_implementation="eager",
        ),
        add_pooling_layer=False,
    )


def mpnet():
    return MPNetModel(
        MPNetConfig(
            **WIDTH,
            max_position_embeddings=34,
            layer_norm_eps=1e-12,
            pad_token_id=1,
            relative_attention_num_buckets=32,
            attn_implementation="eager",
        ),
        add_pooling_layer=False,
    )


def modernbert():
    """Four layers, of which the first and the last see everything, the others four tokens to each side."""
    return ModernBertModel(
        ModernBertConfig(
            vocab_size=VOCABULARY,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=4,
            num_attention_heads=4,
            max_position_embeddings=32,
            global_attn_every_n_layers=3,
            local_attention=8,
            pad_token_id=0,
            bos_token_id=1,
            eos_token_id=1,
            cls_token_id=1,
            sep_token_id=1,
            attn_implementation="eager",
        )
    )


def distilbert():
    return DistilBertModel(
        DistilBertConfig(
            vocab_size=VOCABULARY,
            dim=32,
            n_layers=2,
            n_heads=4,
            hidden_dim=64,
            activation="gelu",
            max_position_embeddings=16,
            dropout=0.0,
            attention_dropout=0.0,
            attn_implementation="eager",
        )
    )


def randomise(model, rng, dtype):
    """Draws every parameter, by name, wide enough that attention and GELU leave their linear range."""
    model = model.to(dtype).eval()
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            norm = "norm" in name.lower()
            if norm and name.endswith("weight"):
                value = draw(rng, parameter.shape, 0.2, 1.0)
            elif name.endswith("bias"):
                value = draw(rng, parameter.shape, 0.1)
            else:
                value = draw(rng, parameter.shape, 0.2)
            parameter.copy_(value)
    return model


def texts(rng, lengths=LENGTHS):
    """Token ids from 2 on.

    The padding row (0, or 1 in RoBERTa) takes no gradient in transformers; packed text never holds it.
    """
    return [rng.integers(2, VOCABULARY, n) for n in lengths]


def pack(ids):
    return integers(np.concatenate(ids)), integers(np.cumsum([0] + [len(i) for i in ids]))


def hidden_states(model, ids):
    """Packed hidden states: after the embedding layer norm, then after every layer."""
    states = [
        model(input_ids=torch.tensor(np.asarray(i))[None].long(), output_hidden_states=True).hidden_states
        for i in ids
    ]
    return [torch.cat([s[layer][0] for s in states]) for layer in range(len(states[0]))]


def pool(hidden, starts, how):
    rows = [hidden[a:b] for a, b in zip(starts[:-1].tolist(), starts[1:].tolist())]
    reduce = {"mean": lambda r: r.mean(0), "cls": lambda r: r[0], "max": lambda r: r.max(0).values}[how]
    return torch.stack([reduce(r) for r in rows])


def normalise(x):
    return x / x.norm(dim=-1, keepdim=True)


def infonce(queries, labels):
    """−(1/B) Σ_i log softmax_j(q_i · l_j / τ) at j = i, rows are queries."""
    logits = queries @ labels.T / TEMPERATURE
    return (logits.logsumexp(-1) - logits.diagonal()).mean()


def embed(model, ids):
    return normalise(pool(hidden_states(model, ids)[-1], pack(ids)[1], "mean"))


def batch_loss(model, ids):
    """Texts 0-2 are queries, 3-5 their labels."""
    e = embed(model, ids)
    return infonce(e[:3], e[3:])


def forward(model, ids):
    tokens, starts = pack(ids)
    hidden = hidden_states(model, ids)
    out = {"tokens": tokens, "starts": starts}
    out |= {f"param.{name}": p for name, p in model.named_parameters()}
    out |= {"hidden." + ("embeddings" if i == 0 else f"layer{i - 1}"): h for i, h in enumerate(hidden)}
    out |= {f"pooled.{how}": pool(hidden[-1], starts, how) for how in ("mean", "cls", "max")}
    return out | {"embedding": normalise(out["pooled.mean"])}


def start(dtype):
    """The model and the batch that encoder and adamw share."""
    rng = np.random.default_rng(SEED)
    return randomise(bert(), rng, dtype), texts(rng)


def build_encoder(dtype):
    model, ids = start(dtype)
    out = forward(model, ids)
    e = out["embedding"]
    loss = infonce(e[:3], e[3:])
    loss.backward()
    out |= {f"grad.{name}": p.grad for name, p in model.named_parameters()}
    out["loss"] = loss.reshape(1)
    out["loss.symmetric"] = ((loss + infonce(e[3:], e[:3])) / 2).reshape(1)
    return out, {
        "model": "BertModel: hidden 32, layers 2, heads 4, intermediate 64, vocabulary 50, positions 16, "
        "types 2, eps 1e-12, gelu (erf)",
        "loss": "InfoNCE, temperature 0.05, texts 0-2 queries, 3-5 labels, query to label; "
        "embedding = normalised mean",
        "loss.symmetric": "mean of query to label and label to query",
        "grad": "of loss, the one direction",
        "hidden": "embeddings: after the embedding layer norm; layerN: after layer N",
    }


def build_forward(make, note):
    def build(dtype):
        rng = np.random.default_rng(SEED)
        model = randomise(make(), rng, dtype)
        with torch.no_grad():
            return forward(model, texts(rng)), {"model": note}

    return build


def build_gradients(make, note):
    """Forward of longer texts, and the gradients of the loss of `build_encoder`."""

    def build(dtype):
        rng = np.random.default_rng(SEED)
        model = randomise(make(), rng, dtype)
        out = forward(model, texts(rng, LONG))
        loss = infonce(out["embedding"][:3], out["embedding"][3:])
        loss.backward()
        out |= {f"grad.{name}": p.grad for name, p in model.named_parameters()}
        out["loss"] = loss.reshape(1)
        loss_note = "InfoNCE, temperature 0.05, texts 0-2 queries, 3-5 labels; embedding = normalised mean"
        return out, {"model": note, "loss": loss_note}

    return build


build_mpnet = build_gradients(
    mpnet,
    "MPNetModel: hidden 32, layers 2, heads 4, intermediate 64, vocabulary 50, positions 34 "
    "(text position p reads row p + 2), 32 buckets of distances, eps 1e-12, gelu (erf)",
)
build_modernbert = build_gradients(
    modernbert,
    "ModernBertModel: hidden 32, layers 4 (0 and 3 see everything, 1 and 2 four tokens to each side), heads 4, "
    "intermediate 48, vocabulary 50, eps 1e-5, theta 160000 and 10000, gelu (erf); the last hidden state is behind "
    "the final norm",
)
build_distilbert = build_forward(
    distilbert,
    "DistilBertModel: dim 32, n_layers 2, n_heads 4, hidden_dim 64, vocabulary 50, positions 16, "
    "eps 1e-12, gelu (erf)",
)
build_roberta = build_forward(
    roberta,
    "RobertaModel: hidden 32, layers 2, heads 4, intermediate 64, vocabulary 50, positions 18 "
    "(text position p reads row p + 2: padding_idx 1, plus 1), one type, eps 1e-5, gelu (erf)",
)
