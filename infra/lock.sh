#!/usr/bin/env bash
# Writes infra/lock.txt (what runs) and infra/lock-test.txt (what the tests and checks add): exact versions with hashes, no addresses,
# one answer for Python 3.11 to 3.14 on Linux and macOS. For maintainers only, it needs `uv`; everybody else installs with plain pip.
#
#   infra/lock.sh            resolve again, keeping what is locked where pyproject.toml still allows it
#   infra/lock.sh --upgrade  take the newest of everything
#   infra/lock.sh --check    writes nothing: does the lock install from wheels on every Python and platform we name?
set -euo pipefail
cd "$(dirname "$0")/.."

check() {
  local python platform
  for python in 3.11 3.12 3.13 3.14; do
    for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin; do
      uv pip install --quiet --dry-run --target "$scratch/target" --python-version "$python" --python-platform "$platform" --only-binary :all: \
        --require-hashes -r infra/lock.txt -r infra/lock-test.txt && echo "Python $python, $platform: ok"
    done
  done
}

resolve() { # OUTPUT ARGUMENT...
  local output=$1
  shift
  uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --only-binary :all: --generate-hashes \
    --no-header --no-annotate --no-emit-index-url --no-emit-find-links --output-file "$output" "$@"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ "${1:-}" = --check ]; then
  check
  exit
fi
cp infra/lock.txt "$scratch/lock.txt" 2>/dev/null || true
cat infra/lock.txt infra/lock-test.txt >"$scratch/all.txt" 2>/dev/null || true

resolve "$scratch/lock.txt" pyproject.toml --extra build "$@"
resolve "$scratch/all.txt" pyproject.toml --extra build --extra test --constraint "$scratch/lock.txt" "$@"

# One answer for every platform, so the conditions say nothing: off with them. infra/lock.sh --check proves that the answer installs.
sed -i 's/ ;.* \\$/ \\/' "$scratch/lock.txt" "$scratch/all.txt"

# A requirement is a line that starts with a name, with its hashes indented below it.
awk 'FNR == NR { if (/^[^ #]/) locked[$1] = 1; next } /^[^ #]/ { keep = !($1 in locked) } keep' "$scratch/lock.txt" "$scratch/all.txt" >"$scratch/test.txt"

if grep -nE '://|^-' "$scratch/lock.txt" "$scratch/test.txt"; then
  echo "lock.sh: the lines above hold an address or an option; a lock file may hold neither" >&2
  exit 1
fi
write() { # FILE PURPOSE
  { echo "# $2 Written by infra/lock.sh; do not edit."; cat "$scratch/$1"; } >"infra/$3"
}
write lock.txt "What embermill runs on, for Python 3.11 to 3.14 on Linux and macOS." lock.txt
write test.txt "What the tests and checks need beside infra/lock.txt." lock-test.txt
