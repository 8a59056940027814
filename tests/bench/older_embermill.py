"""What an older embermill does with datasets of format 2: python -m tests.bench.older_embermill CHECKOUT

CHECKOUT: a working tree of a commit that knows format 1 alone and is called embermill (`git worktree add DIR eefedc8`). It makes a dataset, which today's
`sync` upgrades; another is made today. Each command of the older one must then exit 2 on both, name the version that is needed and leave every file as it
is, the lease's aside.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from unittest import mock

from embermill.jobs.dataset.metadata.lease import LEASE
from embermill.jobs.plan.dataset_format import NEEDED, read_format
from embermill.jobs.storage import open_folder
from tests.jobs.command_line import command, make_dataset, open_inline_pool

MAKE = "import sys; from pathlib import Path; from tests.jobs.command_line import make_dataset; print(make_dataset(Path(sys.argv[1])))"


class Older:
    """The other embermill, in processes of its own."""

    def __init__(self, checkout: Path) -> None:
        self.checkout = checkout.resolve()

    def __call__(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": str(self.checkout)}
        return subprocess.run([sys.executable, *arguments], cwd=self.checkout, env=environment, capture_output=True, text=True, timeout=300)


def upgraded(root: Path, older: Older) -> Path:
    """A dataset of the older embermill after a row was edited and `sync` was run, both by today's; its rows are what they were, but for that one."""
    made = older("-c", MAKE, str(root))
    assert made.returncode == 0, made.stderr
    output = Path(made.stdout.strip())
    assert read_format(open_folder(str(output))) == 1
    data = {name: digest for name, digest in digests(output).items() if name.startswith("data/")}
    corpus = root / "corpus/a.jsonl"
    corpus.write_text(corpus.read_text().replace("text 7", "text 7, edited"))
    with mock.patch("embermill.jobs.sync.stages.open_pool", open_inline_pool):
        answer = command("sync", str(output.with_suffix(".yaml")))
    assert answer.code == 0, answer.errors
    assert (answer["version"], answer["texts_embedded"]) == (2, 1) and data.items() <= digests(output).items()
    return output


def digests(folder: Path) -> dict[str, str]:
    """Of every file but the lease's, which repair and gc take before they look."""
    files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items() if not name.startswith(LEASE)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", type=Path)
    older, wrong = Older(parser.parse_args().checkout), 0
    with tempfile.TemporaryDirectory() as place:
        datasets = {"upgraded": upgraded(Path(place, "older"), older), "fresh": make_dataset(Path(place, "today"))}
        for kind, dataset in datasets.items():
            before = digests(dataset)
            for name in ("run", "plan", "status", "verify", "search", "redrive", "repair", "gc"):
                subject = [str(dataset.with_suffix(".yaml") if name in ("run", "plan") else dataset), *(["text 7"] if name == "search" else [])]
                answer = older("-m", "embermill", name, *subject)
                good = answer.returncode == 2 and f"embermill {NEEDED} or newer" in answer.stderr and digests(dataset) == before
                wrong += not good
                told = {"dataset": kind, "command": name, "exit": answer.returncode, "said": answer.stderr.strip()[-300:], "good": good}
                print(json.dumps(told), flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
