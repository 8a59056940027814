"""The encoder on a CPU in float32, bfloat16 and int8, beside sentence-transformers and ONNX Runtime, on many cores: text in, vectors out, in turns.

    python -m tests.bench.bench_cpu_precisions MODEL_DIR TEXTS.jsonl --cores 16 [--peers-python PYTHON] [--rounds 5] [--only NAME...]

Each contestant is some processes of some threads, which share the texts out among themselves; a process keeps to cores of its own. All are loaded first.
In every round each contestant embeds all texts once while the others wait. A line for each: tokens a second (median over the rounds), how much faster than
float32 of ours in the same rounds, the same by processor time (which neighbours disturb less), and the minimum and mean cosine to our float32 vectors.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from embermill.encoder import Encoder
from tests.bench.peers_cpu import read_texts, serve

PEERS = Path(__file__).with_name("peers_cpu.py")
OURS = "embermill"


class Contestant(NamedTuple):
    """threads: of each process; as many processes as fill the cores. 0: one process with all cores."""

    encoder: str
    precision: str
    threads: int

    def __str__(self) -> str:
        return f"{self.encoder} {self.precision} {self.threads or 'all'}"


CONTESTANTS = [
    Contestant(OURS, "float32", 1),
    Contestant(OURS, "bfloat16", 1),
    Contestant(OURS, "int8", 1),
    Contestant("sentence-transformers", "float32", 0),
    Contestant("sentence-transformers", "bfloat16", 0),
    Contestant("sentence-transformers", "bfloat16", 1),
    Contestant("onnxruntime", "float32", 0),
    Contestant("onnxruntime", "int8", 0),
    Contestant("onnxruntime", "int8", 1),
]


class Crew:
    """The processes of one contestant."""

    def __init__(self, contestant: Contestant, args: argparse.Namespace, folder: Path) -> None:
        threads = contestant.threads or args.cores
        count = args.cores // threads
        self.contestant, self.seconds, self.processor = contestant, list[float](), list[float]()
        self.vectors = [folder / f"{contestant}-{part}.npy" for part in range(count)]
        self.processes = []
        for part in range(count):
            options = [args.model_dir, str(args.texts), "--threads", str(threads), "--precision", contestant.precision, "--part", str(part), str(count)]
            options += ["--vectors", str(self.vectors[part])]
            if contestant.encoder == OURS:
                command = [sys.executable, "-m", "tests.bench.bench_cpu_precisions", *options, "--serve"]
            else:
                command = [args.peers_python, str(PEERS), contestant.encoder, *options]
            cores = range(part * threads, (part + 1) * threads)
            tokenizers = {"TOKENIZERS_PARALLELISM": "true" if threads > 1 else "false", "RAYON_NUM_THREADS": str(threads)}
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads), **tokenizers}
            pinned = ["taskset", "-c", ",".join(map(str, cores)), *command]
            self.processes.append(subprocess.Popen(pinned, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment))

    def wait(self) -> list[dict[str, float]]:
        """An answer of each process."""
        answers = []
        for process in self.processes:
            assert process.stdout is not None
            line = process.stdout.readline()
            if not line:
                raise SystemExit(f"{self.contestant} ended with {process.wait()}; its own words are above")
            answers.append(json.loads(line))
        return answers

    def take_turn(self) -> None:
        started = time.perf_counter()
        for process in self.processes:
            assert process.stdin is not None
            process.stdin.write("\n")
            process.stdin.flush()
        answers = self.wait()
        self.seconds.append(time.perf_counter() - started)
        self.processor.append(sum(answer["cpu_s"] for answer in answers))

    def all_vectors(self, count: int) -> np.ndarray:
        parts = [np.load(path) for path in self.vectors]
        whole = np.empty((count, parts[0].shape[1]))
        for place, part in enumerate(parts):
            whole[place :: len(parts)] = part
        return whole


def report(crews: list[Crew], texts: int, tokens: int) -> None:
    ours = crews[0]
    expected = ours.all_vectors(texts)
    for crew in crews:
        cosines = (crew.all_vectors(texts) * expected).sum(axis=1)
        row = {
            "encoder": str(crew.contestant),
            "processes": len(crew.processes),
            "tokens_per_s": round(tokens / statistics.median(crew.seconds)),
            "of_our_float32": round(statistics.median(a / b for a, b in zip(ours.seconds, crew.seconds, strict=True)), 3),
            "cpu_us_per_token": round(statistics.median(crew.processor) / tokens * 1e6, 1),
            "cpu_of_our_float32": round(statistics.median(a / b for a, b in zip(ours.processor, crew.processor, strict=True)), 3),
            "min_cosine": round(float(cosines.min()), 6),
            "mean_cosine": round(float(cosines.mean()), 6),
            "s": [round(seconds, 3) for seconds in crew.seconds],
        }
        print(json.dumps(row), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model_dir")
    parser.add_argument("texts", type=Path)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--peers-python", default=sys.executable, help="a Python that has torch and sentence-transformers, or onnx and onnxruntime too")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="contestants, by the starts of their names; our float32 is always one")
    for hidden in ("--threads", "--precision", "--vectors"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--part", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    texts = read_texts(args.texts)
    if args.serve:
        encoder = Encoder.from_pretrained(args.model_dir, device="cpu", precision=args.precision, threads=int(args.threads))
        print(encoder.kernel_set, file=sys.stderr)
        serve(lambda some: encoder.encode(list(some), show_progress_bar=False), texts[args.part[0] :: args.part[1]], Path(args.vectors))
        return
    wanted = [one for one in CONTESTANTS if one == CONTESTANTS[0] or not args.only or str(one).startswith(tuple(args.only))]
    with tempfile.TemporaryDirectory() as folder, Encoder.from_pretrained(args.model_dir, device="cpu", threads=1) as encoder:
        tokens = int(encoder.description.open_tokenizer().tokenize(texts).num_tokens.sum())
        crews = [Crew(contestant, args, Path(folder)) for contestant in wanted]
        for crew in crews:
            crew.wait()
        for _ in range(args.rounds):
            for crew in crews:
                crew.take_turn()
        report(crews, len(texts), tokens)
        for crew in crews:
            for process in crew.processes:
                assert process.stdin is not None
                process.stdin.close()
                process.wait()


if __name__ == "__main__":
    main()
