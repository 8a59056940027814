#!/usr/bin/env bash
# make kernels: compiles every kernel, and runs the portable ones and Hopper's own on the CPU, with no GPU. Needs Python 3.11+ and clang 19 (installed with apt-get where this runs as root).
set -euo pipefail
cd "$(dirname "$0")/../.."
venv=.venv-kernels
if [ ! -e $venv/.ready ] || [ infra/kernels/requirements.txt -nt $venv/.ready ]; then
  "${PYTHON:-python3}" -m venv $venv
  $venv/bin/python -m pip install -q -r infra/kernels/requirements.txt
  touch $venv/.ready
fi
clang=${CLANG:-clang-19}
if ! command -v "$clang" >/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    log=$(mktemp)
    { apt-get update && apt-get install -y --no-install-recommends clang-19 lld-19; } >"$log" 2>&1 || { cat "$log" >&2; exit 1; }
  else
    echo "make kernels: expected $clang on PATH to compile for AMD cards; install clang 19 (Debian: apt-get install clang-19 lld-19), or name yours with CLANG=" >&2
    exit 1
  fi
fi
cache=$(mktemp -d)  # an empty one: what is compiled here is compiled, not found
trap 'rm -rf "$cache"' EXIT
EMBERMILL_KERNEL_CACHE=$cache $venv/bin/python infra/kernels/compile_all.py --clang "$clang"
$venv/bin/python infra/kernels/emulate.py --clang "$clang"
