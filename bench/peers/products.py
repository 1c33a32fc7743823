#!/usr/bin/env python3
"""The products of bench/linalg/products.cpp and the codes of bench/quant/codes.cpp by torch, NumPy (its wheel's OpenBLAS) and
bitsandbytes' CPU backend. Prints JSON: {"name": Gflop/s or Gweights/s}, names as this library's benchmarks have them.

    products.py [--threads 1]
"""
import argparse
import json
import os
import time

parser = argparse.ArgumentParser()
parser.add_argument("--threads", type=int, default=1)
options = parser.parse_args()
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[name] = str(options.threads)

import bitsandbytes.functional as bnb  # noqa: E402 (threads are set before)
import numpy as np  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(options.threads)
SHAPES = [(1536, 576), (4096, 4096)]
TOKENS = [1, 4, 16, 64, 256]


def rate(work, body):
    """Units of work a second, the best of runs that last a quarter of a second together."""
    body()
    best, spent = 0.0, 0.0
    while spent < 0.25:
        start = time.perf_counter()
        body()
        seconds = time.perf_counter() - start
        best, spent = max(best, work / seconds), spent + seconds
    return round(best * 1e-9, 4)


results = {}
with torch.no_grad():
    for rows, cols in SHAPES:
        w = torch.randn(rows, cols)
        packed, state = bnb.quantize_4bit(w, blocksize=64, quant_type="nf4")
        w_np = w.numpy()
        for tokens in TOKENS:
            x, dy = torch.randn(tokens, cols), torch.randn(tokens, rows)
            x_np, dy_np = x.numpy(), dy.numpy()
            flops = 2.0 * rows * cols * tokens
            at = f"{rows}x{cols}/{tokens}"
            results[f"{at}/y/torch"] = rate(flops, lambda: x @ w.t())
            results[f"{at}/dx/torch"] = rate(flops, lambda: dy @ w)
            w_bf, x_bf, dy_bf = w.bfloat16(), x.bfloat16(), dy.bfloat16()
            results[f"{at}/y/torch-bf16"] = rate(flops, lambda: x_bf @ w_bf.t())
            results[f"{at}/dx/torch-bf16"] = rate(flops, lambda: dy_bf @ w_bf)
            results[f"{at}/y/OpenBLAS"] = rate(flops, lambda: x_np @ w_np.T)
            results[f"{at}/dx/OpenBLAS"] = rate(flops, lambda: dy_np @ w_np)
            results[f"{at}/y/bitsandbytes"] = rate(flops, lambda: bnb.gemv_4bit(x, packed.t(), state=state)
                                                   if tokens == 1 else x @ bnb.dequantize_4bit(packed, state).t())
    w = torch.randn(4096, 4096)
    for kind in ("nf4", "fp4"):
        packed, state = bnb.quantize_4bit(w, blocksize=64, quant_type=kind)
        results[f"quantize/{kind}/bitsandbytes"] = rate(w.numel(), lambda: bnb.quantize_4bit(w, blocksize=64, quant_type=kind))
        results[f"dequantize/{kind}/bitsandbytes"] = rate(w.numel(), lambda: bnb.dequantize_4bit(packed, state))
print(json.dumps(results))
