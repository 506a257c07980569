#!/usr/bin/env bash
# Makes what is carried to a machine without a network: one folder, packed, with a binary that needs no library of the
# system.
#
#     scripts/release.sh [--model DIR] [OUT.tar.gz]     lode-VERSION-TARGET.tar.gz without a word
#     scripts/release.sh --check OUT.tar.gz             unpacks it into an empty root without a network and runs the demo
#
#     bin/lode            static: any Linux of its processor, whatever its C library
#     source.tar.gz       the sources with every dependency (scripts/vendor.sh): builds offline
#     docs/  presets/  man/  completions/  LICENSE*  README.md
#     model/              with --model: an encoder to start from, whose licence must lie in its folder
#     SHA256SUMS
#
# The folder's dates are those of the commit, so the same commit and compiler give the same bytes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() { echo "error: $*" >&2; exit 1; }

version="$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)"
[ -n "$version" ] || fail "Cargo.toml names no version"
target="$(rustc -vV | sed -n 's/^host: //p')"
scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

if [ "${1:-}" = "--check" ]; then
    [ -f "${2:-}" ] || fail "which tarball? scripts/release.sh --check OUT.tar.gz"
    tar -xf "$2" -C "$scratch"
    root="$(echo "$scratch"/lode-*)"
    (cd "$root" && sha256sum --quiet --check SHA256SUMS) || fail "a file is not the one that was packed"
    # Whoever links to the C library of the system asks it for symbols by version: a static binary asks for none.
    if objdump -T "$root/bin/lode" 2>/dev/null | grep -q GLIBC_; then fail "bin/lode needs the system's C library"; fi
    mkdir -p "$root/tmp" "$root/proc" "$root/dev"
    alone=(unshare -rnm)
    "${alone[@]}" true 2>/dev/null || fail "this system grants no namespace of its own, so nothing can be cut off"
    # Nothing but the kit and what every kernel gives is in this root: no shell, no library, no network.
    inside='mount --rbind /dev "$0/dev" && mount --rbind /proc "$0/proc" && exec chroot "$0" /bin/lode "$@"'
    run() { "${alone[@]}" bash -c "$inside" "$root" "$@" </dev/null; }
    run --version
    run doctor
    run demo --out /tmp/demo
    run predict /tmp/demo/bag-ngame --text "Nordic winter gardens"
    if [ -d "$root/model" ]; then run inspect model /model | head -12; fi
    echo "$2 works in an empty root without a network"
    exit
fi

model=""
if [ "${1:-}" = "--model" ]; then
    model="${2:-}"
    [ -f "$model/config.json" ] || fail "--model names a folder with config.json and model.safetensors"
    ls "$model"/LICENSE* >/dev/null 2>&1 || fail "$model has no LICENSE: what may not be passed on is not packed"
    shift 2
fi
name="lode-$version-$target"
out="$(realpath -m "${1:-$name.tar.gz}")"
kit="$scratch/$name"
mkdir -p "$kit/bin" "$kit/completions"
[ -z "$(git status --porcelain)" ] || echo "warning: what is not committed is in the binary and not in the sources" >&2

RUSTFLAGS="-C target-feature=+crt-static" cargo build --release --locked --target "$target"
binary="${CARGO_TARGET_DIR:-target}/$target/release/lode"
install -m 755 "$binary" "$kit/bin/lode"
bash scripts/vendor.sh "$kit/source.tar.gz"
cp -r docs presets README.md ARCHITECTURE.md CHANGELOG.md LICENSE* "$kit/"
for shell in bash zsh fish; do "$kit/bin/lode" completions "$shell" >"$kit/completions/lode.$shell"; done
if "$kit/bin/lode" man --help >/dev/null 2>&1; then "$kit/bin/lode" man --out "$kit/man"; fi
if [ -n "$model" ]; then cp -rL "$model" "$kit/model"; fi
(cd "$kit" && find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort | xargs -d '\n' sha256sum >SHA256SUMS)
made="$(git log -1 --format=%ct)"
tar --sort=name --mtime="@$made" --owner=0 --group=0 --numeric-owner -C "$scratch" -cf - "$name" | gzip -n >"$out"
echo "$out: $(du -h "$out" | cut -f1)"
