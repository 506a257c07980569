#!/usr/bin/env bash
# All that is to be done on a machine with a CUDA device, in one go: build, test, look for races, time. One table comes
# out, on stdout; everything else goes to stderr.
#
#     MODEL=DIR benches/gpu-day.sh [--dry-run]
#
# MODEL is a directory with all-MiniLM-L6-v2, WHEELS the folder that scripts/ptx.py is given. PYTHON names an interpreter
# with torch (for CUDA) and transformers, DEVICE another device than cuda:0. compute-sanitizer is used where it is on the
# PATH. --dry-run says what is missing here, and does what can be done without it: the build, and the tests on the stand-in
# driver.
set -euo pipefail
# Names are relative to where the script is called.
[ -z "${MODEL:-}" ] || MODEL="$(realpath "$MODEL")"
[ -z "${WHEELS:-}" ] || WHEELS="$(realpath "$WHEELS")"
case "${PYTHON:-}" in */*) PYTHON="$(cd "$(dirname "$PYTHON")" && pwd)/$(basename "$PYTHON")" ;; esac
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec 3>&1 1>&2

python="${PYTHON:-python3}" device="${DEVICE:-cuda:0}" dry=false
case "${1:-}" in
--dry-run) dry=true ;;
"") ;;
*) echo "error: \`$1\` is no flag of this script: --dry-run"; exit 2 ;;
esac
missing=()
note() { missing+=("$1"); echo "missing: $1"; }

echo "== build"
cargo build --release --locked
cargo build --release --locked -p benches --examples
tests() { # package: the program of its tests on a device
    cargo test --release --locked -p "$1" --test standin --no-run --message-format=json |
        sed -nE 's/.*"name":"standin".*"executable":"([^"]+)".*/\1/p' | tail -n 1
}
of_operations="$(tests autograd)" of_encoders="$(tests models)" of_runs="$(tests train)" of_searches="$(tests samplers)"

echo "== what is here"
has_device=false
# The devices, or a text that says why there are none.
is_list='import json, sys; sys.exit(not isinstance(json.load(sys.stdin)["cuda"], list))'
if target/release/lode doctor --json | "$python" -c "$is_list"; then
    has_device=true
    target/release/lode doctor | grep -i cuda || true
else
    note "a CUDA device with its driver (\`lode doctor\` says why)"
fi
"$python" -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null ||
    note "PyTorch that finds a device: the peers (PYTHON names the interpreter)"
"$python" -c 'import transformers' 2>/dev/null || note "transformers in Python: the model of the peers"
[ -n "${MODEL:-}" ] && [ -f "${MODEL:-}/config.json" ] || note "MODEL, a directory with all-MiniLM-L6-v2"
# Who multiplies: cuBLAS, too, where it is found.
gemms=(own)
has_version='import json, sys; sys.exit(not isinstance(json.load(sys.stdin)["cublas"], dict))'
if target/release/lode doctor --json | "$python" -c "$has_version"; then
    gemms+=(cublas)
else
    note "cuBLAS (\`lode doctor\` says why): own kernels alone are tested and timed"
fi
command -v compute-sanitizer >/dev/null || note "compute-sanitizer: no look for races and stray accesses"

echo "== PTX and registers"
"$python" scripts/ptx.py --check ${WHEELS:+--wheels "$WHEELS"}

if ! $has_device; then
    echo "== tests on the stand-in driver"
    "$of_operations"
    "$of_encoders"
    "$of_runs"
    "$of_searches"
    echo "no device: nothing was tested on one, and nothing timed. Missing: ${#missing[@]}"
    $dry && exit 0
    exit 1
fi

if ! $dry; then
    for need in "PyTorch" "transformers" "MODEL"; do
        for what in "${missing[@]+"${missing[@]}"}"; do
            case "$what" in "$need"*) echo "error: the table needs $what"; exit 1 ;; esac
        done
    done
fi

operations=(staging_on_the_device tables_on_the_device products_on_the_device beside_on_the_device larger_on_the_device steps_on_the_device bf16_on_the_device golden_on_the_device on_the_device)
runs=(losses_on_the_device run_on_the_device chunks_on_the_device classifiers_on_the_device resume_on_the_device bf16_on_the_device plans_of_the_device)
# Those that are looked at for stray accesses: a step of everything that is trained.
looked_at=(run_on_the_device classifiers_on_the_device)
for gemm in "${gemms[@]}"; do
    export GEMM="$gemm"
    echo "== tests on the device, products by $gemm"
    (cd autograd && "$of_operations" --ignored --exact "${operations[@]}" --test-threads=1 --nocapture)
    (cd models && "$of_encoders" --ignored --exact golden_on_the_device --test-threads=1)
    (cd train && "$of_runs" --ignored --exact "${runs[@]}" --test-threads=1)
    (cd samplers && "$of_searches" --ignored --exact on_the_device --test-threads=1)
    if command -v compute-sanitizer >/dev/null; then
        for tool in memcheck racecheck synccheck; do
            echo "== compute-sanitizer, $tool, products by $gemm"
            (cd autograd && compute-sanitizer --tool "$tool" --error-exitcode 1 "$of_operations" --ignored --exact \
                "${operations[@]}" --test-threads=1)
            (cd samplers && compute-sanitizer --tool "$tool" --error-exitcode 1 "$of_searches" --ignored --exact \
                on_the_device --test-threads=1)
        done
        echo "== compute-sanitizer, memcheck of runs, products by $gemm"
        (cd train && compute-sanitizer --tool memcheck --error-exitcode 1 "$of_runs" --ignored --exact \
            "${looked_at[@]}" --test-threads=1)
    fi
done
if $dry; then exit 0; fi

echo "== times"
cd benches/peers
"$python" gpu.py --device "$device" --model "$MODEL" --gemm "${gemms[@]}" >&3
