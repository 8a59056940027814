#!/usr/bin/env bash
# Known vulnerabilities of what is locked, run by a person before a release: it asks a public service, which no test does.
#   infra/audit.sh            every lock file
#   infra/audit.sh lock.txt   one of them
set -euo pipefail
cd "$(dirname "$0")/.."

python="${PYTHON:-.venv/bin/python}"
tools="$(mktemp -d)"
trap 'rm -rf "$tools"' EXIT
"$python" -m venv "$tools/venv"
"$tools/venv/bin/python" -m pip install --quiet --disable-pip-version-check pip-audit

if [ $# -gt 0 ]; then
  locks=("${@/#/infra/}")
else
  locks=(infra/lock*.txt)
fi
failed=0
for lock in "${locks[@]}"; do
  echo "== $lock"
  "$tools/venv/bin/pip-audit" --requirement "$lock" --require-hashes --disable-pip --progress-spinner off || failed=1
done
exit "$failed"
