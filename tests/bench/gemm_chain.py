"""The ceiling: only the GEMMs of a whole BERT (cuBLASLt, bias and residual in the epilogue), one captured graph, sustained.

Nothing that runs these GEMMs can be faster.

    python -m tests.bench.gemm_chain --model base --tokens 65536 --precisions float16,bfloat16,float8
    run = chain("base", "float16", tokens=65536)   # run() replays the graph once: `tokens` tokens; give it to take_turns
Activations are unit normal (after GELU for the last GEMM of a layer), weights have sd 0.05: power, and so speed, depends on the data.
"""
from __future__ import annotations

import argparse
import ctypes as C

import cupy as cp
import torch
from cuda.pathfinder import load_nvidia_dynamic_lib

from tests.bench.peers_gpu import SHAPES, Run, take_turns

LT = C.CDLL(load_nvidia_dynamic_lib("cublasLt").abs_path)
WORKSPACE = 64 << 20
F16, BF16, E4M3 = 2, 14, 28                                  # cudaDataType
COMPUTE_32F, SCALE_32F, BIAS = 68, 0, 4                      # cublasComputeType_t, cudaDataType, cublasLtEpilogue_t
TRANSA, EPILOGUE, BIAS_POINTER, A_SCALE, B_SCALE, FAST_ACCUM, BIAS_TYPE = 3, 7, 8, 17, 18, 25, 26
KINDS = {"float16": (torch.float16, F16, F16), "bfloat16": (torch.bfloat16, BF16, BF16), "float8": (torch.float8_e4m3fn, E4M3, F16)}


class Algorithm(C.Structure):
    _fields_ = [("data", C.c_uint64 * 8)]


class Heuristic(C.Structure):
    _fields_ = [("algorithm", Algorithm), ("workspace", C.c_size_t), ("state", C.c_int), ("waves", C.c_float), ("reserved", C.c_int * 4)]


def check(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"cuBLASLt {what}: status {status}")


class Gemm:
    """D[T, N] = X[T, K] @ W[N, K].T + bias + beta * R, the heuristic's first algorithm."""

    def __init__(self, handle, workspace, tokens: int, kind: str, weight: torch.Tensor, bias: torch.Tensor, beta: float, scale: torch.Tensor) -> None:
        n, k = weight.shape
        _, into, out = KINDS[kind]
        self.handle, self.workspace, self.weight, self.bias, self.scale = handle, workspace, weight, bias, scale
        self.alpha, self.beta, self.op = C.c_float(1.0), C.c_float(beta), C.c_void_p()
        check(LT.cublasLtMatmulDescCreate(C.byref(self.op), COMPUTE_32F, SCALE_32F), "descriptor")
        self.set(TRANSA, C.c_int32(1))
        self.set(EPILOGUE, C.c_int32(BIAS))
        self.set(BIAS_POINTER, C.c_uint64(bias.data_ptr()))
        self.set(BIAS_TYPE, C.c_int32(out))
        if into == E4M3:
            self.set(FAST_ACCUM, C.c_int8(1))
            for which in (A_SCALE, B_SCALE):
                self.set(which, C.c_uint64(scale.data_ptr()))
        self.a, self.b, self.d = self.layout(into, k, n), self.layout(into, k, tokens), self.layout(out, n, tokens)
        preference, limit, found, got = C.c_void_p(), C.c_size_t(WORKSPACE), (Heuristic * 1)(), C.c_int()
        check(LT.cublasLtMatmulPreferenceCreate(C.byref(preference)), "preference")
        check(LT.cublasLtMatmulPreferenceSetAttribute(preference, 1, C.byref(limit), C.sizeof(limit)), "workspace limit")
        check(LT.cublasLtMatmulAlgoGetHeuristic(handle, self.op, self.a, self.b, self.d, self.d, preference, 1, found, C.byref(got)), "heuristic")
        self.algorithm = found[0].algorithm

    def set(self, attribute: int, value) -> None:
        check(LT.cublasLtMatmulDescSetAttribute(self.op, attribute, C.byref(value), C.sizeof(value)), f"attribute {attribute}")

    @staticmethod
    def layout(kind: int, rows: int, columns: int):
        made = C.c_void_p()
        check(LT.cublasLtMatrixLayoutCreate(C.byref(made), kind, C.c_uint64(rows), C.c_uint64(columns), C.c_int64(rows)), "layout")
        return made

    def __call__(self, x: torch.Tensor, d: torch.Tensor, residual: torch.Tensor, stream: int) -> None:
        p = C.c_void_p
        check(
            LT.cublasLtMatmul(
                self.handle, self.op, C.byref(self.alpha), p(self.weight.data_ptr()), self.a, p(x.data_ptr()), self.b, C.byref(self.beta),
                p(residual.data_ptr()), self.d, p(d.data_ptr()), self.d, C.byref(self.algorithm),
                p(self.workspace.data_ptr()), C.c_size_t(WORKSPACE), p(stream),
            ),
            "matmul",
        )  # fmt: skip


def chain(shape: str, kind: str, tokens: int = 65536) -> Run:
    e, f, layers = (SHAPES[shape][key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    dims = ((3 * e, e, 0.0), (e, e, 1.0), (f, e, 0.0), (e, f, 1.0))  # N, K, beta
    dtype, _, out = KINDS[kind]
    stored = torch.float16 if out == F16 else torch.bfloat16

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, device="cuda")

    handle, workspace, one = C.c_void_p(), torch.empty(WORKSPACE, dtype=torch.uint8, device="cuda"), torch.ones(1, device="cuda")
    check(LT.cublasLtCreate(C.byref(handle)), "create")
    inputs = [(torch.nn.functional.gelu(normal(tokens, k)) if k == f else normal(tokens, k)).to(dtype) for _, k, _ in dims]
    outputs = [torch.empty(tokens, n, device="cuda", dtype=stored) for n, _, _ in dims]
    residual, spread = normal(tokens, e).to(stored), 1.0 if dtype is torch.float8_e4m3fn else 0.05
    gemms = [(Gemm(handle, workspace, tokens, kind, normal(n, k).mul(spread).to(dtype), normal(n).to(stored), beta, one), j, beta)
             for _ in range(layers) for j, (n, k, beta) in enumerate(dims)]
    stream = cp.cuda.Stream(non_blocking=True)
    torch.cuda.synchronize()

    def launch() -> None:
        for gemm, j, beta in gemms:
            gemm(inputs[j], outputs[j], residual if beta else outputs[j], stream.ptr)

    launch()
    stream.synchronize()
    assert all(bool(torch.isfinite(o).all()) for o in outputs)
    with stream:
        stream.begin_capture()
        launch()
        graph = stream.end_capture()

    def run(keep=(inputs, outputs, residual, gemms)) -> None:
        graph.launch(stream)

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="base")
    parser.add_argument("--tokens", type=int, default=65536)
    parser.add_argument("--precisions", default="float16,bfloat16,float8")
    args = parser.parse_args()
    rates = take_turns({kind: chain(args.model, kind, args.tokens) for kind in args.precisions.split(",")}, args.tokens)
    for kind, rate in rates.items():
        print(f"{args.model} {kind} T={args.tokens}: {rate / 1e6:.2f} Mtok/s")


if __name__ == "__main__":
    main()
