"""embermill's encoder on a CPU beside what a user would pick instead: the same texts and threads, in turns, each in a process of its own.

    python -m tests.bench.bench_cpu MODEL_DIR TEXTS.jsonl --peers-python .venv-reference/bin/python [--onnx] [--threads 2] [--rounds 5]

Text in, vectors out, tokenising included. In every round each embeds all texts once while the others wait; what is compared is the median over the
rounds, in wall time (the machine should be quiet) and in processor time (which a neighbour disturbs less). Also says how far the vectors are apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from embermill.encoder import Encoder
from tests.bench.peers_cpu import read_texts, serve

PEERS = Path(__file__).with_name("peers_cpu.py")


@dataclass
class Contestant:
    """A process that embeds all texts each time it is asked. seconds, processor: one entry a round."""

    name: str
    process: subprocess.Popen[str]
    vectors: Path
    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)

    def answer(self) -> dict[str, float]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended with {self.process.wait()}; its own words are above")
        answer: dict[str, float] = json.loads(line)
        return answer

    def take_turn(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        answer = self.answer()
        self.seconds.append(answer["s"])
        self.processor.append(answer["cpu_s"])


def start(name: str, command: Sequence[str], vectors: Path) -> Contestant:
    contestant = Contestant(name, subprocess.Popen([*command, "--vectors", str(vectors)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True), vectors)
    contestant.answer()
    return contestant


def report(contestants: Sequence[Contestant], tokens: int) -> None:
    ours = contestants[0]
    for one in contestants:
        wall, processor = statistics.median(one.seconds), statistics.median(one.processor)
        row: dict[str, object] = {"encoder": one.name, "tokens_per_s": round(tokens / wall), "s": [round(s, 2) for s in one.seconds]}
        row["cpu_us_per_token"] = round(processor / tokens * 1e6, 1)
        if one is not ours:
            row["embermill_is_faster_by"] = round(statistics.median(b / a for a, b in zip(ours.seconds, one.seconds, strict=True)), 3)
            row["in_processor_time_by"] = round(processor / statistics.median(ours.processor), 3)
            mine, theirs = np.load(ours.vectors), np.load(one.vectors)
            row["largest_difference"] = float(np.abs(mine - theirs).max())
            row["smallest_cosine"] = float((mine.astype(np.float64) * theirs).sum(1).min())
        print(json.dumps(row), flush=True)


def serve_ours(args: argparse.Namespace) -> None:
    encoder = Encoder.from_pretrained(args.model_dir, device="cpu", threads=args.threads)
    serve(encoder.encode, read_texts(args.texts), args.vectors)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir")
    parser.add_argument("texts", type=Path)
    parser.add_argument("--peers-python", default=sys.executable, help="a Python that has torch and sentence-transformers")
    parser.add_argument("--onnx", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--vectors", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.serve:
        serve_ours(args)
        return
    folder = Path(tempfile.mkdtemp())
    common = [args.model_dir, str(args.texts), "--threads", str(args.threads)]
    commands = {"embermill": [sys.executable, "-m", "tests.bench.bench_cpu", *common, "--serve"]}
    for peer in ("sentence-transformers", *(["onnxruntime"] if args.onnx else [])):
        commands[peer] = [args.peers_python, str(PEERS), peer, *common]
    contestants = [start(name, command, folder / f"{name}.npy") for name, command in commands.items()]
    for _ in range(args.rounds):
        for contestant in contestants:
            contestant.take_turn()
    with Encoder.from_pretrained(args.model_dir, device="cpu", threads=1) as encoder:
        tokens = int(encoder.description.open_tokenizer().tokenize(read_texts(args.texts)).num_tokens.sum())
    report(contestants, tokens)


if __name__ == "__main__":
    main()
