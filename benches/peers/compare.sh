#!/usr/bin/env bash
# Lode beside its peers, both on this machine, alternately: benches/peers/compare.sh step|encode|gemm|search|cluster|tokenize
#
# PYTHON names an interpreter with torch and transformers (encode: also sentence-transformers, onnx and onnxruntime; search:
# faiss-cpu; gemm: mkl), MODEL a directory with all-MiniLM-L6-v2, DATA a data set in JSON lines (trn.jsonl.gz, lbl.jsonl.gz).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
cargo build --release --locked --quiet
cargo build --release --locked --quiet -p benches --examples
case "${1:-}" in
gemm | encode) exec "${PYTHON:-python3}" "benches/peers/$1.py" "${@:2}" ;;
*) exec "${PYTHON:-python3}" benches/peers/compare.py "$@" ;;
esac
