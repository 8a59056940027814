#!/usr/bin/env bash
# Writes infra/lock.txt (what runs), infra/lock-test.txt (what the tests and checks add), infra/lock-reference.txt (what the comparison
# with sentence-transformers adds to both, torch itself left out), infra/lock-index.txt (what the tests of `embermill load` add to the first,
# in an environment of their own, since they need an older DuckDB) and infra/docker/lock-*.txt (what each image adds to lock.txt; Linux on x86-64
# alone): exact versions with hashes, no addresses, one answer for Python 3.11
# to 3.14 on Linux and macOS. For maintainers only, it needs `uv`; everybody else installs with plain pip.
#
#   infra/lock.sh            resolve again, keeping what is locked where pyproject.toml still allows it
#   infra/lock.sh --upgrade  take the newest of everything
#   infra/lock.sh --check    writes nothing: does the lock install from wheels on every Python and platform we name?
set -euo pipefail
cd "$(dirname "$0")/.."

installs() { # ARGUMENT...: on the Python and platform of the loop that calls it
  uv pip install --quiet --dry-run --target "$scratch/target" --python-version "$python" --python-platform "$platform" --only-binary :all: --no-deps \
    --require-hashes "$@"
}

check() {
  local python platform
  for python in 3.11 3.12 3.13 3.14; do
    for platform in x86_64-manylinux_2_28 aarch64-manylinux_2_28 aarch64-apple-darwin; do
      installs -r infra/lock.txt -r infra/lock-test.txt -r infra/lock-reference.txt
      [[ $platform = *-apple-* ]] || installs -r infra/lock.txt -r infra/lock-index.txt  # faiss-cpu wants macOS 14, newer than what uv takes for macOS
      echo "Python $python, $platform: ok"
    done
  done
}

resolve() { # OUTPUT ARGUMENT...
  local output=$1
  shift
  uv pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --only-binary :all: --generate-hashes \
    --no-header --no-annotate --output-file "$output" "$@"
}

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
if [ "${1:-}" = --check ]; then
  check
  exit
fi

# Each lock adds to the ones before it. Starting from what is locked keeps it, unless --upgrade is given.
cp infra/lock.txt "$scratch/lock.txt" 2>/dev/null || true
cat infra/lock.txt infra/lock-test.txt >"$scratch/test.txt" 2>/dev/null || true
cat infra/lock.txt infra/lock-test.txt infra/lock-reference.txt >"$scratch/reference.txt" 2>/dev/null || true
cat infra/lock.txt infra/lock-index.txt >"$scratch/index.txt" 2>/dev/null || true

# torch is left out, so what it needs itself is named here. (infra/install_reference.sh installs it.)
echo "torch; sys_platform == 'never'" >"$scratch/no-torch.txt"
printf '%s\n' jinja2 networkx sympy >"$scratch/torch-needs.txt"

resolve "$scratch/lock.txt" pyproject.toml --extra build --extra fast-text "$@"
resolve "$scratch/test.txt" pyproject.toml --extra build --extra fast-text --extra test --constraint "$scratch/lock.txt" "$@"
resolve "$scratch/reference.txt" pyproject.toml "$scratch/torch-needs.txt" --extra build --extra fast-text --extra test --extra reference \
  --constraint "$scratch/test.txt" --override "$scratch/no-torch.txt" "$@"
resolve "$scratch/index.txt" pyproject.toml --extra build --extra fast-text --extra index --constraint "$scratch/lock.txt" "$@"

# Images are for Linux on x86-64 alone, where the GPUs' packages are: outside this folder, so that the platforms of pyproject.toml do not count.
for flavor in cpu cuda12 cuda13 rocm; do
  printf '%s\n' "$(pwd)[build,cluster$([ "$flavor" = cpu ] || echo ",$flavor")]" >"$scratch/$flavor.in"
  (cd "$scratch" && uv pip compile --quiet --python-version 3.12 --python-platform x86_64-manylinux_2_28 --only-binary :all: --generate-hashes \
    --no-header --no-annotate --no-emit-package embermill --constraint "$scratch/lock.txt" --constraint "$scratch/test.txt" \
    --output-file "$scratch/$flavor.txt" "$scratch/$flavor.in")
done

# One answer for every platform, so the conditions say nothing: off with them. infra/lock.sh --check proves that the answer installs.
sed -i 's/ ;.* \\$/ \\/' "$scratch"/{lock,test,reference,index}.txt

if grep -nE '://|^-' "$scratch"/{lock,test,reference,index,cpu,cuda12,cuda13,rocm}.txt; then
  echo "lock.sh: the lines above hold an address or an option; a lock file may hold neither" >&2
  exit 1
fi

added() { # FILE BEYOND: the requirements of FILE that BEYOND lacks. A requirement is a line that starts with a name, its hashes indented below it.
  awk 'FNR == NR { if (/^[^ #]/) locked[$1] = 1; next } /^[^ #]/ { keep = !($1 in locked) } keep' "$2" "$1"
}
said='Written by infra/lock.sh; do not edit.'
for flavor in cpu cuda12 cuda13 rocm; do
  { echo "# What the $flavor image needs beside lock.txt. $said"; added "$scratch/$flavor.txt" "$scratch/lock.txt"; } >"infra/docker/lock-$flavor.txt"
done
{ echo "# What embermill runs on, for Python 3.11 to 3.14 on Linux and macOS. $said"; cat "$scratch/lock.txt"; } >infra/lock.txt
{ echo "# What the tests and checks need beside lock.txt. $said"; added "$scratch/test.txt" "$scratch/lock.txt"; } >infra/lock-test.txt
{ echo "# What the comparison with sentence-transformers needs beside lock.txt, lock-test.txt and torch. $said"; added "$scratch/reference.txt" "$scratch/test.txt"; } >infra/lock-reference.txt
{ echo "# What the tests of \`embermill load\` need beside lock.txt. $said"; added "$scratch/index.txt" "$scratch/lock.txt"; } >infra/lock-index.txt
