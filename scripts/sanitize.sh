#!/usr/bin/env bash
# Runs the tests of `engine`, where all unsafe code is, under AddressSanitizer and ThreadSanitizer:
#
#     scripts/sanitize.sh [address|thread]...        both without a word
#
# Needs a nightly toolchain, since sanitizers are not in stable Rust; LODE_NIGHTLY names another one.
#
# The standard library of that toolchain is not instrumented. AddressSanitizer sees its allocations all the same.
# ThreadSanitizer does not see that its locks and condition variables order anything, so it reports thousands of races
# that are none: wherever a caller waits for the pool (a condition variable), and inside what a lock guards. What is
# left to be found is what we promise by unsafe code: no two tasks of the pool write the same memory. So a report counts
# if both accesses are those of workers, and neither is in the scheduler (rayon, crossbeam) or in the buffer pool, whose
# lists are behind a lock (`engine/src/pool.rs`).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { echo "error: $*" >&2; exit 1; }

nightly="${LODE_NIGHTLY:-nightly}"
host="$(rustc "+$nightly" -vV 2>/dev/null | sed -n 's/^host: //p')"
[ -n "$host" ] || fail "there is no toolchain \`$nightly\`: rustup toolchain install nightly"
[ $# -gt 0 ] || set -- address thread

# Optimised, since the kernels are what is looked at; with assertions, since a test should fail where it can.
tests() {
    local sanitizer="$1" flags="$2"
    shift 2
    RUSTFLAGS="$flags -Cdebug-assertions -Cforce-frame-pointers" \
        cargo "+$nightly" test --release --locked -p engine --lib --tests \
        --target "$host" --target-dir "target/sanitize-$sanitizer" "$@"
}

# Of the reports on stdin: prints those between two tasks, then how many there were.
between_tasks() {
    awk '
        function close_report() {
            if (!reported) return
            all++
            if (workers[1] && workers[2] && !excused) { bad++; printf "%s", text }
        }
        /WARNING: ThreadSanitizer/ { close_report(); reported = 1; text = ""; part = 0; excused = 0; split("", workers) }
        { text = text $0 "\n" }
        # The two accesses come first, each with its stack; then where memory and threads came from.
        /^  (Previous )?([Aa]tomic )?([Rr]ead|[Ww]rite) of size/ { part++; top = 0 }
        /^  (Location|Thread|Mutex|As if)/ { part = 3 }
        part < 3 && /ThreadBuilder>::run/ { workers[part] = 1 }
        part < 3 && /^    #[0-9]+ / {
            if ($2 ~ /^(free|malloc|memcpy|memmove|__tsan_mem.*)$/ || top) next
            top = 1
            if ($0 ~ /#[0-9]+ .*(rayon_core|crossbeam|engine::pool::Pool|std::sync::poison::mutex)/) excused = 1
        }
        END { close_report(); printf "%d reports, %d of them between two tasks\n", all, bad; exit bad > 0 }
    '
}

for sanitizer in "$@"; do
    echo "== $sanitizer"
    case "$sanitizer" in
        address)
            ASAN_OPTIONS="detect_stack_use_after_return=1:${ASAN_OPTIONS:-}" tests address "-Zsanitizer=address"
            ;;
        thread)
            reports="$PWD/target/sanitize-thread/reports"
            mkdir -p "$reports" && rm -f "$reports"/*
            # The crates around crossbeam use fences, which ThreadSanitizer does not know, unless told not to.
            TSAN_OPTIONS="exitcode=0:log_path=$reports/of:${TSAN_OPTIONS:-}" tests thread \
                "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg crossbeam_sanitize_thread" \
                -- --test-threads=1
            cat "$reports"/* /dev/null | between_tasks
            ;;
        *) fail "\`$sanitizer\` is neither address nor thread" ;;
    esac
done
