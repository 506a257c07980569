#!/usr/bin/env bash
# Lode beside PyTorch, both on this machine, alternately: benches/peers/compare.sh step
# PYTHON names an interpreter that has torch and transformers, MODEL a directory with all-MiniLM-L6-v2, DATA a data set
# in JSON lines (trn.jsonl.gz, lbl.jsonl.gz). Products alone: gemm.py; encoding beside ONNX Runtime: ort_encode.py.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cargo build --release --locked --quiet
exec "${PYTHON:-python3}" benches/peers/compare.py "$@"
