#!/usr/bin/env bash
# The whole of embermill on the documentation of the Python standard library: corpus, run, verify, search; then an edited corpus, sync, search.
#
#   infra/demo/demo.sh VENV/bin      (what `make demo` calls)
#
# Stopped half-way it resumes; once finished, it only looks for changes, verifies and searches. `rm -rf demo` starts over.
set -euo pipefail
cd "$(dirname "$0")/../.."
bin=$1
dataset=demo/embeddings

bold='' plain=''
[ ! -t 1 ] || { bold=$'\033[1m' plain=$'\033[0m'; }
step() { printf '\n%s$ %s%s\n' "$bold" "$*" "$plain"; }

if [ ! -e demo/corpus/stdlib.parquet ]; then
  step python infra/demo/stdlib_corpus.py demo/corpus
  "$bin/python" infra/demo/stdlib_corpus.py demo/corpus
fi

step embermill run infra/demo/demo.yaml
"$bin/embermill" run infra/demo/demo.yaml

step embermill verify "$dataset"
"$bin/embermill" verify "$dataset"

ask() { # QUESTION EXPECTED: what the first three answers must name
  step embermill search "$dataset" "\"$1\"" -k 3
  local answer
  answer=$("$bin/embermill" search "$dataset" "$1" -k 3)
  printf '%s\n' "$answer"
  if ! grep -qF "$2" <<<"$answer"; then
    echo "demo: expected \"$1\" to find $2 among the first three" >&2
    exit 1
  fi
}
ask "how do I open a zip file" zipfile.
ask "start another program and read its output" subprocess.
ask "read settings from an ini file" configparser.

printf '\n%sThe corpus changes, and the dataset follows:%s only what changed is embedded.\n' "$bold" "$plain"
step python infra/demo/edit_corpus.py demo/corpus
"$bin/python" infra/demo/edit_corpus.py demo/corpus

step embermill sync infra/demo/demo.yaml
"$bin/embermill" sync infra/demo/demo.yaml

ask "how often to feed a sourdough starter" sched.

printf '\nThe dataset is plain Parquet: %s/data/*.parquet as it was first, %s/changes/ what has changed since.\n' "$dataset" "$dataset"
printf 'The rows as they are now: embermill files %s --sql duckdb prints a query for them.\n' "$dataset"
