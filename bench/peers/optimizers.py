#!/usr/bin/env python3
"""A step of 16 million numbers: this library's optimizers (build/bench/bench_optim), torch's and bitsandbytes' on the CPU, one
after the other.

    build/data/peers/bin/python bench/peers/optimizers.py build/bench/bench_optim [--threads 1]

Prints a table in Markdown: milliseconds (of the peers those of the fastest of some steps), and GB/s of the bytes of parameters,
gradients and state read and written. What a library refuses on the CPU is said so.
"""
import argparse
import json
import os
import subprocess
import time

import bitsandbytes as bnb
import torch

NUMBERS = 1 << 24
MAKERS = {  # name: (how it is made, bytes of state a number)
    "torch AdamW": (lambda p: torch.optim.AdamW([p], lr=1e-4), 8),
    "torch AdamW, fused": (lambda p: torch.optim.AdamW([p], lr=1e-4, fused=True), 8),
    "bitsandbytes AdamW": (lambda p: bnb.optim.AdamW32bit([p], lr=1e-4), 8),
    "bitsandbytes AdamW8bit": (lambda p: bnb.optim.AdamW8bit([p], lr=1e-4), 2 + 8 / 256),
    "bitsandbytes PagedAdamW8bit": (lambda p: bnb.optim.PagedAdamW8bit([p], lr=1e-4), 2 + 8 / 256),
    "bitsandbytes Lion8bit": (lambda p: bnb.optim.Lion8bit([p], lr=1e-4), 1 + 4 / 256),
}

parser = argparse.ArgumentParser()
parser.add_argument("bench")
parser.add_argument("--threads", type=int, default=1)
options = parser.parse_args()
torch.set_num_threads(options.threads)
print("| | ms | GB/s |\n|---|---|---|")
only = "^(adamw|adamw8bit|lion8bit)(/paged.*)?/real_time|naive"
ours = subprocess.run([options.bench, "--benchmark_format=json", f"--benchmark_filter={only}"],
                      env={**os.environ, "OMP_NUM_THREADS": str(options.threads)}, check=True, capture_output=True, text=True)
for row in json.loads(ours.stdout)["benchmarks"]:
    print(f"| {row['name'].removesuffix('/real_time')} | {row['real_time']:.1f} | {row['GB/s']:.1f} |")
for name, (make, state) in MAKERS.items():
    p = torch.nn.Parameter(torch.ones(4096, NUMBERS // 4096))
    p.grad = ((torch.arange(NUMBERS) * 37 % 257 - 128) / 512).reshape(p.shape)
    try:
        optimizer = make(p)
        least = float("inf")
        for _ in range(6):
            start = time.perf_counter()
            optimizer.step()
            least = min(least, time.perf_counter() - start)
    except Exception as failure:  # noqa: BLE001: whatever it says is the result
        print(f"| {name} | {type(failure).__name__}: {str(failure).splitlines()[0][:80]} | |")
        continue
    print(f"| {name} | {1000 * least:.1f} | {(12 + 2 * state) * NUMBERS / least / 1e9:.1f} |", flush=True)
