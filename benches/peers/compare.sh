#!/usr/bin/env bash
# Lode beside its peers, both on this machine, alternately: benches/peers/compare.sh step|encode|gemm|search|tokenize|cluster
# PYTHON names an interpreter that has the peer (torch and transformers, onnxruntime, faiss-cpu, tokenizers, numpy);
# MODEL a directory with all-MiniLM-L6-v2, DATA a data set in JSON lines (trn.jsonl.gz, lbl.jsonl.gz).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cargo build --release --locked --quiet
exec "${PYTHON:-python3}" benches/peers/compare.py "$@"
