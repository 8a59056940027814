"""Kernels one by one against what the GPU can do, variants in turns. For choosing tiles, algorithms and buckets; the figures go to infra/decisions.

    python -m tests.bench.gpu_kernels ffn|attention|memory|budgets|tiles [--models minilm,base,large] [--precision float16]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import cupy as cp
import numpy as np

from embermill.encoder.backends.cuda import sm90_gemm as hopper_gemm
from embermill.encoder.backends.cuda.attention_plan import AttentionPlan
from embermill.encoder.backends.cuda.cublaslt import Gemm, Product
from embermill.encoder.backends.cuda.ops import CudaOps
from embermill.encoder.backends.cuda.sm90_gemm import After, HopperGemm, Tile
from embermill.encoder.backends.cupy.ops import STORAGES
from embermill.encoder.device import choose_device
from embermill.encoder.pipeline.batching import pack
from tests.bench.peers_gpu import SHAPES, Workload, take_turns, write_model

TILES = [Tile(), Tile(cluster=1), Tile(192, 5), Tile(128, 6)]
BUDGETS = [67584, 131072, 135168, 270336]


def graph_of(launch: Callable[[], object], repeats: int) -> Callable[[], None]:
    """`launch`, `repeats` times in one captured graph."""
    stream, pool = cp.cuda.Stream(non_blocking=True), cp.cuda.MemoryPool()
    cp.cuda.Device().synchronize()
    with stream, cp.cuda.using_allocator(pool.malloc):
        launch()
        stream.synchronize()
        stream.begin_capture()
        for _ in range(repeats):
            launch()
        graph = stream.end_capture()
    return lambda keep=(pool, launch): graph.launch(stream)  # type: ignore[misc]


def unit_normal(ops: CudaOps, *shape: int) -> cp.ndarray:
    out = cp.random.standard_normal(shape, dtype=cp.float32)
    return out.astype(cp.float16) if ops.precision == "float16" else (out.view(cp.uint32) >> 16).astype(cp.uint16)


def ffn(ops: CudaOps, model: str, tokens: int) -> None:
    """The intermediate product with erf GELU (fused, or apart), each followed by the output product; microseconds for both."""
    e, f = SHAPES[model]["hidden_size"], SHAPES[model]["intermediate_size"]
    up, down, bias_up, bias_down = unit_normal(ops, f, e), unit_normal(ops, e, f), unit_normal(ops, 1, f), unit_normal(ops, 1, e)
    if ops.precision == "float16":
        up *= 0.05
        down *= 0.05
    x, h, y = unit_normal(ops, tokens, e), unit_normal(ops, tokens, f), unit_normal(ops, tokens, e)
    wide = cp.random.standard_normal(f, dtype=cp.float32)
    finish = ops._epilogue(f, "gelu")
    second = Gemm(Product(e, f, ops.precision, None, tokens), down.data.ptr, bias_down.data.ptr, 0)
    runs: dict[str, Callable[[], object]] = {}

    def stream() -> int:
        return int(cp.cuda.get_current_stream().ptr)

    def pair(first: Callable[[], object]) -> Callable[[], None]:
        def launch() -> None:
            first()
            second(h.data.ptr, y.data.ptr, tokens, stream(), x.data.ptr)

        return graph_of(launch, 12)

    for candidate in range(2):
        try:
            gemm = Gemm(Product(f, e, ops.precision, None, tokens), up.data.ptr, bias_up.data.ptr, 0, candidate=candidate)
        except Exception as error:
            print(candidate, error)
            continue
        print("up", candidate, gemm.facts())
        runs[f"library {candidate}, no gelu"] = pair(lambda gemm=gemm: gemm(x.data.ptr, h.data.ptr, tokens, stream()))  # type: ignore[misc]
        if candidate == 0:
            runs["library + gelu pass"] = pair(lambda gemm=gemm: (gemm(x.data.ptr, h.data.ptr, tokens, stream()), finish(h, None, None, h)))  # type: ignore[misc]
    for tile in TILES:
        if f % tile.columns:
            continue
        for activation in (1, 0):
            fused = HopperGemm(
                up.data.ptr, wide.data.ptr, f, e,
                precision=ops.precision, storage=STORAGES[ops.precision], after=After(activation), multiprocessors=ops.compute_units, tile=tile,
            )  # fmt: skip
            name = f"wgmma {tile.columns}/{tile.stages}/{tile.cluster} {'gelu' if activation else 'no gelu'}"
            runs[name] = pair(lambda fused=fused: fused(x.data.ptr, h.data.ptr, tokens, stream()))  # type: ignore[misc]
    print("down", second.facts())
    flops = 2 * 2.0 * tokens * e * f
    for name, rate in take_turns(runs, tokens * 12, rounds=3, window_s=0.15).items():  # type: ignore[arg-type]
        us = tokens / rate * 1e6
        print(f"ffn {model} {ops.precision} T={tokens} {name:28s} {us:8.1f} us  {flops / us / 1e6:6.0f} TFLOP/s", flush=True)


def attention(ops: CudaOps, model: str, tokens: int) -> None:
    e, heads = SHAPES[model]["hidden_size"], SHAPES[model]["num_attention_heads"]
    dim = e // heads
    attends = {
        "wgmma": ops._tensor_attention(AttentionPlan("sm90", "wgmma", 640, 4, 2), heads, dim),
        "mma": ops._tensor_attention(AttentionPlan("sm80", "mma", 128), heads, dim),
    }
    qkv = unit_normal(ops, tokens, 3 * e)
    runs, flops, rows = {}, {}, {}
    for kind in ("fixed128", "fixed512", "mixed"):
        work = Workload.make(kind, tokens)
        batch = next(iter(pack(work.input_ids, np.concatenate([[0], np.cumsum(work.lengths)]), tokens)))
        device_batch = ops.to_device(batch)
        for name, attend in attends.items():
            runs[kind, name] = graph_of(lambda b=device_batch, attend=attend: attend(qkv[: b.room.rows], b), 20)  # type: ignore[misc]
        flops[kind], rows[kind] = 4.0 * float((batch.lengths.astype(np.float64) ** 2).sum()) * e, batch.num_rows
    for (kind, name), rate in take_turns(runs, 20, rounds=3, window_s=0.1).items():  # type: ignore[arg-type, str-unpack]
        us = 1e6 / rate
        rates = f"{flops[kind] / us / 1e6:6.0f} TFLOP/s  {rows[kind] * e * 8 / us / 1e6:5.2f} TB/s"
        print(f"attention {model} {ops.precision} {kind:9s} {name:8s} {us:8.1f} us  {rates}", flush=True)


def memory(ops: CudaOps, model: str, tokens: int) -> None:
    e, f = SHAPES[model]["hidden_size"], SHAPES[model]["intermediate_size"]
    gamma = np.ones(e, np.float32)
    norm, finish = ops.add_layer_norm(gamma, gamma, 1e-12), ops._epilogue(f, "gelu")
    x, h = unit_normal(ops, tokens, e), unit_normal(ops, tokens, f)
    runs = {"layer_norm": graph_of(lambda: norm(x, None, x), 20), "gelu": graph_of(lambda: finish(h, None, None, h), 20)}  # type: ignore[call-arg]
    for name, rate in take_turns(runs, 20, rounds=3, window_s=0.2).items():  # type: ignore[arg-type]
        us = 1e6 / rate
        print(f"{name} {model} {ops.precision} T={tokens} {us:8.1f} us  {tokens * (e if name == 'layer_norm' else f) * 4 / us / 1e6:5.2f} TB/s", flush=True)


def budgets(model: str, precision: str, fused: tuple[bool, ...]) -> None:
    from tests.bench.gpu_forward import Ours

    folder = write_model(model, f"/tmp/{model}")
    ours = {gelu: Ours(folder, precision, fused_gelu=gelu) for gelu in fused}
    for kind in ("fixed128", "fixed512", "mixed"):
        work = Workload.make(kind, 1 << 19 if model == "large" else 1 << 20)
        runs = {f"{budget} {'fused' if gelu else 'apart'}": one.prepare(work, budget) for gelu, one in ours.items() for budget in BUDGETS}
        for name, rate in take_turns(runs, work.tokens, rounds=3, window_s=0.2).items():  # type: ignore[arg-type]
            print(f"forward {model} {precision} {kind:9s} {name:12s} {rate / 1e6:6.3f} Mtok/s", flush=True)


def tiles(model: str, precision: str) -> None:
    """The whole pass with some tiles of the product that has GELU in its epilogue."""
    from tests.bench.gpu_forward import Ours

    folder, passes = write_model(model, f"/tmp/{model}"), {}
    for tile in TILES:
        hopper_gemm.CHOSEN = tile
        passes[tile] = Ours(folder, precision)
    for kind in ("fixed128", "fixed512", "mixed"):
        work = Workload.make(kind, 1 << 20)
        runs = {str(tile): one.prepare(work) for tile, one in passes.items()}
        for name, rate in take_turns(runs, work.tokens, rounds=3, window_s=0.3).items():  # type: ignore[arg-type]
            print(f"forward {model} {precision} {kind:9s} {name} {rate / 1e6:6.3f} Mtok/s", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["ffn", "attention", "memory", "budgets", "tiles"])
    parser.add_argument("--models", default="minilm,base,large")
    parser.add_argument("--precision", default="float16")
    parser.add_argument("--tokens", default="65536")
    parser.add_argument("--fused", default="0,1")
    args = parser.parse_args()
    for model in args.models.split(","):
        if args.what == "budgets":
            budgets(model, args.precision, tuple(value == "1" for value in args.fused.split(",")))
            continue
        if args.what == "tiles":
            tiles(model, args.precision)
            continue
        ops = CudaOps(choose_device("gpu"), args.precision)
        for tokens in map(int, args.tokens.split(",")):
            {"ffn": ffn, "attention": attention, "memory": memory}[args.what](ops, model, tokens)


if __name__ == "__main__":
    main()
