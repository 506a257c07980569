#!/usr/bin/env bash
# Runs the tests of `engine`, where all unsafe code is, under AddressSanitizer and ThreadSanitizer:
#
#     scripts/sanitize.sh [address|thread]...        both without a word
#
# Needs a nightly toolchain, since sanitizers are not in stable Rust; LODE_NIGHTLY names another one. ThreadSanitizer must
# see the locks of the standard library, or it takes what they order for races: that library is built with it, from the
# toolchain's component rust-src.
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

for sanitizer in "$@"; do
    echo "== $sanitizer"
    case "$sanitizer" in
        address)
            ASAN_OPTIONS="detect_stack_use_after_return=1:${ASAN_OPTIONS:-}" tests address "-Zsanitizer=address"
            ;;
        thread)
            source="$(rustc "+$nightly" --print sysroot)/lib/rustlib/src"
            [ -d "$source" ] || fail "the toolchain has no rust-src: rustup component add rust-src --toolchain $nightly"
            # The crates around crossbeam use fences, which ThreadSanitizer does not know, unless told not to.
            tests thread "-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer --cfg crossbeam_sanitize_thread" \
                -Zbuild-std -- --test-threads=1
            ;;
        *) fail "\`$sanitizer\` is neither address nor thread" ;;
    esac
done
