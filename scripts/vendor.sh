#!/usr/bin/env bash
# Makes a source tarball of the commit at hand with every dependency in it, which builds where there is no network:
#
#     scripts/vendor.sh [OUT.tar.gz]             lode-VERSION-vendored.tar.gz without a word
#     scripts/vendor.sh --check OUT.tar.gz       unpacks it elsewhere and builds it, without a network and a cargo cache
#
# Who has it needs Rust and nothing else: tar xf OUT.tar.gz && cd lode-VERSION && cargo build --release --offline --locked
# The same commit gives the same bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { echo "error: $*" >&2; exit 1; }

version="$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)"
[ -n "$version" ] || fail "Cargo.toml names no version"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

if [ "${1:-}" = "--check" ]; then
    [ -f "${2:-}" ] || fail "which tarball? scripts/vendor.sh --check OUT.tar.gz"
    tar -xf "$2" -C "$scratch"
    cd "$scratch/lode-$version"
    mkdir "$scratch/cargo"
    # A network of its own, in which nothing can be reached; where the system grants none, an empty cache has to do.
    alone=()
    if unshare -rn true 2>/dev/null; then alone=(unshare -rn); else echo "the network cannot be cut off here"; fi
    CARGO_HOME="$scratch/cargo" CARGO_TARGET_DIR="$scratch/target" "${alone[@]}" \
        cargo build --release --offline --locked
    "$scratch/target/release/lode" --version
    exit
fi

out="$(realpath -m "${1:-lode-$version-vendored.tar.gz}")"
[ -z "$(git status --porcelain)" ] || echo "warning: what is not committed is not in it" >&2
git archive --prefix="lode-$version/" HEAD | tar -x -C "$scratch"
cd "$scratch/lode-$version"
mkdir -p .cargo
# What it prints is the configuration that sends cargo there; with --quiet it prints nothing.
cargo vendor --locked vendor >.cargo/config.toml 2>"$scratch/told" || fail "$(cat "$scratch/told")"
grep -q vendored-sources .cargo/config.toml || fail "cargo vendor gave no configuration"
made="$(git -C "$OLDPWD" log -1 --format=%ct)"
tar --sort=name --mtime="@$made" --owner=0 --group=0 --numeric-owner -C "$scratch" -cf - "lode-$version" | gzip -n >"$out"
echo "$out: $(du -h "$out" | cut -f1), $(find vendor -mindepth 1 -maxdepth 1 -type d | wc -l) packages"
