"""What a user would pick instead on one GPU, on the same token ids, weights and GPU as the candidate.

As a program (prints one JSON line per peer; needs torch >= 2.11 and transformers; torchao only for float8):
    python -m tests.bench.peers_gpu --model base --dtype bfloat16 --loads fixed128,fixed512,mixed --peers varlen,float8
As a library, to measure a candidate and its peers in turns in one process:
    folder = write_model("base", "/tmp/base")                     # config.json, model.safetensors (F32, seeded)
    work   = Workload.make("mixed", tokens=1 << 20, seed=0)       # .lengths [B], .input_ids [T] int32, flat, no padding
    peer   = Varlen(folder, "bfloat16"); run = peer.prepare(work) # run() -> [B, E] float32 on the GPU, order of work.lengths
    rates  = take_turns({"ours": ours, "peer": run}, work.tokens) # tokens/s of each, medians of alternating windows
    cosine(run(), reference(folder, work))                        # against float32 on the same ids
Weights are random: speed does not depend on their values, but power does on the data, so activations must stay finite and unit-sized.
"""
from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F

SHAPES = {
    "minilm": dict(hidden_size=384, num_hidden_layers=6, num_attention_heads=12, intermediate_size=1536),
    "base": dict(hidden_size=768, num_hidden_layers=12, num_attention_heads=12, intermediate_size=3072),
    "large": dict(hidden_size=1024, num_hidden_layers=24, num_attention_heads=16, intermediate_size=4096),
}
DEVICE = "cuda"
Run = Callable[[], torch.Tensor]


@dataclass(frozen=True)
class Workload:
    lengths: np.ndarray    # [B] int64, tokens of each document
    input_ids: np.ndarray  # [T] int32, the documents one after another

    @staticmethod
    def make(kind: str, tokens: int = 1 << 20, seed: int = 0) -> Workload:
        """kind: fixedN, or mixed (log-normal, median 90, sd 0.8, clipped to 8..512)."""
        rng = np.random.default_rng(seed)
        if kind.startswith("fixed"):
            n = int(kind[5:])
            lengths = np.full(tokens // n, n)
        else:
            drawn = np.clip(np.exp(rng.normal(math.log(90), 0.8, tokens // 16)), 8, 512).astype(np.int64)
            lengths = drawn[: int(np.searchsorted(np.cumsum(drawn), tokens)) + 1]
        return Workload(lengths, rng.integers(1000, 30000, int(lengths.sum()), dtype=np.int32))

    @property
    def tokens(self) -> int:
        return int(self.lengths.sum())

    def rows(self) -> list[np.ndarray]:
        return np.split(self.input_ids, np.cumsum(self.lengths)[:-1])


def write_model(shape: str, folder: str, seed: int = 0) -> str:
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    BertModel(BertConfig(**SHAPES[shape]), add_pooling_layer=False).save_pretrained(folder)
    return folder


def load(folder: str, dtype: str):
    from transformers import BertModel

    return BertModel.from_pretrained(folder, add_pooling_layer=False, attn_implementation="sdpa").eval().to(DEVICE, getattr(torch, dtype))


class Padded:
    """What sentence-transformers does: sort by length, pad each batch to its longest, SDPA attention."""

    def __init__(self, folder: str, dtype: str, batch: int = 256, compiled: bool = False) -> None:
        self.model, self.batch = load(folder, dtype), batch
        self.forward = torch.compile(self.model, dynamic=True) if compiled else self.model

    def prepare(self, work: Workload) -> Run:
        order = np.argsort(-work.lengths, kind="stable")
        rows, batches = work.rows(), []
        for k in range(0, len(order), self.batch):
            index = order[k : k + self.batch]
            ids = np.zeros((len(index), int(work.lengths[index].max())), np.int64)
            for i, r in enumerate(index):
                ids[i, : len(rows[r])] = rows[r]
            mask = np.arange(ids.shape[1])[None] < work.lengths[index][:, None]
            batches.append((torch.from_numpy(index).to(DEVICE), torch.from_numpy(ids).to(DEVICE), torch.from_numpy(mask).to(DEVICE, torch.int64)))

        @torch.inference_mode()
        def run() -> torch.Tensor:
            out = torch.empty(len(rows), self.model.config.hidden_size, device=DEVICE)
            for index, ids, mask in batches:
                x = self.forward(input_ids=ids, attention_mask=mask).last_hidden_state
                w = mask[..., None].to(x.dtype)
                out[index] = F.normalize(((x * w).sum(1) / w.sum(1)).float(), dim=1)
            return out

        return run


class Layer(nn.Module):
    def __init__(self, hidden: int, inner: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv, self.o = nn.Linear(hidden, 3 * hidden), nn.Linear(hidden, hidden)
        self.up, self.down = nn.Linear(hidden, inner), nn.Linear(inner, hidden)
        self.norm1, self.norm2 = nn.LayerNorm(hidden, 1e-12), nn.LayerNorm(hidden, 1e-12)

    def forward(self, x: torch.Tensor, cu: torch.Tensor, longest: int) -> torch.Tensor:
        from torch.nn.attention.varlen import varlen_attn

        t, e = x.shape
        q, k, v = self.qkv(x).view(t, 3, self.heads, e // self.heads).unbind(1)
        x = self.norm1(self.o(varlen_attn(q, k, v, cu, cu, longest, longest).reshape(t, e)) + x)
        return self.norm2(self.down(F.gelu(self.up(x))) + x)


class Encoder(nn.Module):
    def __init__(self, config) -> None:
        super().__init__()
        e = config.hidden_size
        self.words, self.positions = nn.Embedding(config.vocab_size, e), nn.Embedding(config.max_position_embeddings, e)
        self.segment, self.norm = nn.Parameter(torch.empty(e)), nn.LayerNorm(e, 1e-12)
        self.layers = nn.ModuleList(Layer(e, config.intermediate_size, config.num_attention_heads) for _ in range(config.num_hidden_layers))

    def forward(self, ids, positions, cu, longest: int, owner, weight):
        x = self.norm(self.words(ids) + self.positions(positions) + self.segment)
        for layer in self.layers:
            x = layer(x, cu, longest)
        pooled = torch.zeros(weight.shape[0], x.shape[1], device=x.device).index_add_(0, owner, x.float())
        return F.normalize(pooled * weight[:, None], dim=1)

    @staticmethod
    def of(bert) -> Encoder:
        self, b = Encoder(bert.config), bert.embeddings
        pairs = [(self.words, b.word_embeddings), (self.positions, b.position_embeddings), (self.norm, b.LayerNorm)]
        for mine, its in zip(self.layers, bert.encoder.layer, strict=True):
            a = its.attention
            for part in ("weight", "bias"):
                getattr(mine.qkv, part).data = torch.cat([getattr(m, part).data for m in (a.self.query, a.self.key, a.self.value)])
            pairs += [(mine.o, a.output.dense), (mine.norm1, a.output.LayerNorm), (mine.up, its.intermediate.dense),
                      (mine.down, its.output.dense), (mine.norm2, its.output.LayerNorm)]
        for mine, its in pairs:
            mine.load_state_dict(its.state_dict())
        self.segment.data = b.token_type_embeddings.weight.data[0].clone()
        return self.eval().to(DEVICE, bert.dtype)


class Varlen:
    """The strongest torch form: packed tokens, FlashAttention varlen, torch.compile; with `float8`, torchao's dynamic per-row float8 linears."""

    def __init__(self, folder: str, dtype: str, budget: int = 65536, mode: str | None = None, float8: bool = False) -> None:
        self.model, self.budget = Encoder.of(load(folder, dtype)), budget
        if float8:
            from torchao.quantization import Float8DynamicActivationFloat8WeightConfig, PerRow, quantize_

            quantize_(self.model.layers, Float8DynamicActivationFloat8WeightConfig(granularity=PerRow()))
        self.forward = torch.compile(self.model, mode=mode, dynamic=mode is None)

    def prepare(self, work: Workload) -> Run:
        packs, start = [], 0
        rows = work.rows()
        while start < len(rows):
            end, tokens = start, 0
            while end < len(rows) and tokens + work.lengths[end] <= self.budget:
                tokens += int(work.lengths[end])
                end += 1
            n = work.lengths[start:end]
            packs.append((
                torch.from_numpy(np.concatenate(rows[start:end])).to(DEVICE, torch.int64),
                torch.from_numpy(np.concatenate([np.arange(k) for k in n])).to(DEVICE),
                torch.from_numpy(np.concatenate([[0], np.cumsum(n)])).to(DEVICE, torch.int32),
                int(work.lengths.max()),
                torch.from_numpy(np.repeat(np.arange(len(n)), n)).to(DEVICE),
                torch.from_numpy(1.0 / n).to(DEVICE, torch.float32),
            ))
            start = end

        @torch.inference_mode()
        def run() -> torch.Tensor:
            return torch.cat([self.forward(*pack) for pack in packs])

        return run


PEERS: dict[str, Callable[[str, str], object]] = {
    "padded32": lambda folder, dtype: Padded(folder, dtype, 32),
    "padded256": lambda folder, dtype: Padded(folder, dtype, 256),
    "padded256-compiled": lambda folder, dtype: Padded(folder, dtype, 256, compiled=True),
    "varlen": Varlen,
    "varlen-32768": lambda folder, dtype: Varlen(folder, dtype, 32768),
    "varlen-autotuned": lambda folder, dtype: Varlen(folder, dtype, mode="max-autotune-no-cudagraphs"),  # fixed lengths only; 35-90 s a shape
    "float8": lambda folder, dtype: Varlen(folder, dtype, float8=True),
}


@torch.inference_mode()
def reference(folder: str, work: Workload, documents: int = 256) -> torch.Tensor:
    """Float32 embeddings [documents, E] of the first documents."""
    head = Workload(work.lengths[:documents], work.input_ids[: int(work.lengths[:documents].sum())])
    return Padded(folder, "float32", 32).prepare(head)()


def cosine(candidate: torch.Tensor, expected: torch.Tensor) -> tuple[float, float]:
    """(minimum, mean) cosine of the rows that `expected` has, around its mean row: embeddings of random weights are all alike."""
    centre = expected.double().mean(0)
    both = F.cosine_similarity(candidate[: len(expected)].double() - centre, expected.double() - centre, dim=1)
    return float(both.min()), float(both.mean())


def take_turns(runs: dict[str, Run], tokens: int, rounds: int = 5, window_s: float = 1.0) -> dict[str, float]:
    """Tokens/s of each run: every run in turn for a window, `rounds` times, all at the same temperature and power; medians."""
    repeats, seconds = {}, {name: [] for name in runs}  # type: ignore[var-annotated]
    for name, run in runs.items():
        run()
        torch.cuda.synchronize()
        begin = time.perf_counter()
        run()
        torch.cuda.synchronize()
        repeats[name] = max(1, round(window_s / (time.perf_counter() - begin)))
    for _ in range(rounds):
        for name, run in runs.items():
            torch.cuda.synchronize()
            begin = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            torch.cuda.synchronize()
            seconds[name].append((time.perf_counter() - begin) / repeats[name])
    return {name: tokens / float(np.median(s)) for name, s in seconds.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="base")
    parser.add_argument("--dtype", default="float16")
    parser.add_argument("--loads", default="fixed128,fixed512,mixed")
    parser.add_argument("--peers", default="padded32,padded256,varlen")
    parser.add_argument("--tokens", type=int, default=1 << 20)
    parser.add_argument("--folder", default="")
    args = parser.parse_args()
    folder = args.folder or write_model(args.model, f"/tmp/peers-{args.model}")
    print(torch.__version__, torch.cuda.get_device_name(), Path(folder).name, args.dtype, flush=True)
    peers = {name: PEERS[name](folder, args.dtype) for name in args.peers.split(",")}
    for kind in args.loads.split(","):
        work = Workload.make(kind, args.tokens)
        runs = {name: peer.prepare(work) for name, peer in peers.items()}  # type: ignore[attr-defined]
        expected = reference(folder, work)
        accuracy = {name: cosine(run(), expected) for name, run in runs.items()}
        for name, rate in take_turns(runs, work.tokens).items():
            print(json.dumps(dict(peer=name, model=args.model, dtype=args.dtype, load=kind, tokens=work.tokens, tok_s=round(rate),
                                  min_cosine=round(accuracy[name][0], 6), mean_cosine=round(accuracy[name][1], 6))), flush=True)


if __name__ == "__main__":
    main()
