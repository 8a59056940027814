#!/usr/bin/env bash
# Installs embermill with what a cluster's node needs, as the README's `pip install '.[cluster]'` (and the extra for the GPU) does, from locks with hashes.
#
#   infra/docker/install.sh DEST [cpu|cuda12|cuda13|rocm]      DEST: a virtual environment that is made; PYTHON: python3 unless given
set -euo pipefail
cd "$(dirname "$0")/../.."
dest=$1
flavor=${2:-cpu}

if [ ! -e "infra/docker/lock-$flavor.txt" ]; then
  echo "install.sh: $flavor: expected cpu, cuda12, cuda13 or rocm" >&2
  exit 2
fi
"${PYTHON:-python3}" -m venv "$dest"
pip() { "$dest/bin/python" -m pip --disable-pip-version-check --no-cache-dir "$@"; }
pip install --quiet --require-hashes --only-binary :all: -r infra/lock.txt -r "infra/docker/lock-$flavor.txt"
pip install --quiet --no-deps --no-build-isolation .
