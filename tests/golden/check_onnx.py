"""Runs an exported ONNX file in ONNX Runtime and compares its embeddings with ours.

usage: python tests/golden/check_onnx.py MODEL.onnx EXPORTED_DIR EMBEDDINGS.npy TEXTS.txt
       python tests/golden/check_onnx.py --families DIR --tokenizer TOKENIZER_JSON       makes models to try it on

MODEL.onnx is from `lode export --to onnx`, EXPORTED_DIR from `--to hf` (its tokenizer is read) or the model itself;
TEXTS.txt has one text a line (UTF-8), EMBEDDINGS.npy one row a text, as `lode encode` writes it.
Checks the file (onnx.checker, full), runs it in batches of seven, padded on the right and then on the left, and prints
the largest difference; exit status 1 when it is above 1e-5. `--families` writes a small model with random numbers of
each family as transformers saves it (bert, distilbert, roberta, xlm-roberta, mpnet, modernbert). Runs offline.
"""

import argparse
import json
import shutil
import sys
from pathlib import Path

import numpy as np

LARGEST = 1e-5
BATCH = 7


def read_lines(path):
    """Lines end at \\n or \\r\\n only; str.splitlines would also cut at U+2028 and its like."""
    lines = Path(path).read_bytes().decode("utf-8").split("\n")
    if lines[-1] == "":
        lines.pop()
    return [line.removesuffix("\r") for line in lines]


def token_ids(folder, texts):
    from tokenizers import Tokenizer

    file = next(f for f in [folder / "tokenizer.json", folder / "0_StaticEmbedding" / "tokenizer.json"] if f.exists())
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_padding()
    limit = folder / "sentence_bert_config.json"
    config = folder / "config.json"
    if limit.exists():
        tokenizer.enable_truncation(json.loads(limit.read_text())["max_seq_length"])
    elif config.exists():
        facts = json.loads(config.read_text())
        shifted = facts["model_type"] in ("roberta", "xlm-roberta", "mpnet")
        tokenizer.enable_truncation(facts["max_position_embeddings"] - (facts["pad_token_id"] + 1 if shifted else 0))
    return [encoding.ids for encoding in tokenizer.encode_batch(texts)]


def run(session, ids, left):
    """The embeddings of texts of token ids, padded on one side with a token that does not matter."""
    rows, wanted = [], {i.name for i in session.get_inputs()}
    for start in range(0, len(ids), BATCH):
        batch = ids[start : start + BATCH]
        longest = max(map(len, batch)) + 2
        tokens, mask = np.full((len(batch), longest), 3, np.int64), np.zeros((len(batch), longest), np.int64)
        for row, text in enumerate(batch):
            at = slice(longest - len(text), longest) if left else slice(0, len(text))
            tokens[row, at], mask[row, at] = text, 1
        feed = {"input_ids": tokens, "attention_mask": mask, "token_type_ids": np.zeros_like(tokens)}
        rows.append(session.run(["sentence_embedding"], {n: v for n, v in feed.items() if n in wanted})[0])
    return np.concatenate(rows)


def families(folder, tokenizer):
    import torch
    import transformers as t

    torch.manual_seed(20)
    small = dict(vocab_size=30522, hidden_size=32, num_hidden_layers=3, num_attention_heads=4, intermediate_size=64)
    some = dict(small, max_position_embeddings=64)
    distil = dict(vocab_size=30522, dim=32, n_layers=3, n_heads=4, hidden_dim=64, max_position_embeddings=64)
    modern = dict(some, local_attention=8, global_attn_every_n_layers=2, pad_token_id=0, cls_token_id=101,
                  sep_token_id=102, bos_token_id=101, eos_token_id=102)
    all = {
        "bert": t.BertModel(t.BertConfig(**some)),
        "distilbert": t.DistilBertModel(t.DistilBertConfig(**distil)),
        "roberta": t.RobertaModel(t.RobertaConfig(**some, type_vocab_size=1, hidden_act="gelu_new")),
        "xlm-roberta": t.XLMRobertaModel(t.XLMRobertaConfig(**some, type_vocab_size=1)),
        "mpnet": t.MPNetModel(t.MPNetConfig(**some)),
        "modernbert": t.ModernBertModel(t.ModernBertConfig(**modern)),
    }
    for name, model in all.items():
        for key, value in model.named_parameters():
            # Far from the usual beginning, where all texts are much the same.
            value.data.normal_(1.0 if "norm" in key.lower() and key.endswith("weight") else 0.0, 0.2)
        model.save_pretrained(folder / name)
        shutil.copy(tokenizer, folder / name / "tokenizer.json")
        print(folder / name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*")
    parser.add_argument("--families", type=Path)
    parser.add_argument("--tokenizer")
    arguments = parser.parse_args()
    if arguments.families:
        return families(arguments.families, arguments.tokenizer)
    import onnx
    import onnxruntime

    model, exported, embeddings, texts = arguments.files
    onnx.checker.check_model(model, full_check=True)
    ours, texts = np.load(embeddings).astype(np.float64), read_lines(texts)
    ids = token_ids(Path(exported), texts)
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    for left in (False, True):
        theirs = run(session, ids, left).astype(np.float64)
        if ours.shape != theirs.shape:
            sys.exit(f"shapes differ: {embeddings} {ours.shape}, ONNX Runtime {theirs.shape}")
        off = np.abs(ours - theirs).max(axis=1)
        lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
        cosine = ((ours * theirs).sum(axis=1)[lengths > 0] / lengths[lengths > 0]).min()
        print(
            f"{len(texts)} texts, {ours.shape[1]} channels, padded {'left' if left else 'right'}: "
            f"max |difference| {off.max():.2e} (line {off.argmax() + 1}), least cosine 1 - {1 - cosine:.1e}"
        )
        # Written so that NaN fails too.
        if not off.max() <= LARGEST:
            sys.exit(f"above {LARGEST:.0e}")


if __name__ == "__main__":
    main()
