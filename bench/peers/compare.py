#!/usr/bin/env python3
"""Runs this library's products and codes and the peers' in turn, several rounds, and prints tables in Markdown: medians, and
ratios to the best dense product and to bitsandbytes; rows that miss their goal are marked.

    compare.py PEERS_PYTHON [--rounds 3] [--threads 1]
"""
import argparse
import collections
import json
import os
import statistics
import subprocess
import sys

GOALS = {1: 2.5, 4: 1.3, 16: 1.3, 64: 1.0, 256: 1.0}  # times the best dense float32; batch 4 is not in the goals: 16's is taken

parser = argparse.ArgumentParser()
parser.add_argument("python")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=1)
options = parser.parse_args()
environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
runs = collections.defaultdict(list)


def own(program, *arguments):
    text = subprocess.run([f"build/bench/{program}", "--benchmark_format=json", "--benchmark_min_time=0.3", *arguments], env=environment,
                          check=True, capture_output=True, text=True).stdout
    return json.loads(text)["benchmarks"]


for round_ in range(options.rounds):
    print(f"round {round_ + 1} of {options.rounds}", file=sys.stderr)
    for each in own("bench_products", "--benchmark_filter=^(576x576|1536x576|576x1536|4096x4096)/(1|4|16|64|256)/"):
        runs["/".join(each["name"].split("/")[:4])].append(each["Gflop/s"])
    for each in own("bench_codes", "--benchmark_filter=copy|Nf4>|Nf4Dq|Fp4>|Nf3|Q4_1"):
        name = each["name"].split("/")[0]
        runs[name].append(each["Gweights/s"])
    peers = subprocess.run([options.python, "bench/peers/products.py", "--threads", str(options.threads)], check=True,
                           capture_output=True, text=True).stdout
    for name, value in json.loads(peers.splitlines()[-1]).items():
        runs[name].append(value)

median = {name: statistics.median(values) for name, values in runs.items()}
spread = statistics.median((max(v) - min(v)) / statistics.median(v) for v in runs.values() if statistics.median(v) > 0)
print(f"{options.threads} thread(s), {options.rounds} rounds; medians in Gflop/s; half of the rows vary by less than {spread:.0%} between rounds.\n")
print("| shape, batch | product | nf4-dq | nf4 | float32 | Eigen | OpenBLAS | torch | bitsandbytes | nf4-dq of the best dense | goal |")
print("|---|---|---|---|---|---|---|---|---|---|---|")
for shape in ("576x576", "1536x576", "576x1536", "4096x4096"):
    for tokens in (1, 4, 16, 64, 256):
        for product in ("y", "dx"):
            get = lambda who: median.get(f"{shape}/{tokens}/{product}/{who}", 0.0)
            best = max(get("Eigen"), get("OpenBLAS"), get("torch"))
            ratio, goal = get("nf4-dq") / best, GOALS[tokens]
            cells = [f"{get(who):.1f}" if get(who) else "" for who in ("nf4-dq", "nf4", "float32", "Eigen", "OpenBLAS", "torch", "bitsandbytes")]
            print(f"| {shape}, {tokens} | {product} | {' | '.join(cells)} | {ratio:.2f} | {goal}{'' if ratio >= goal else ' **missed**'} |")
print("\n| 4096 x 4096 | Gweights/s | of a copy | of bitsandbytes |\n|---|---|---|---|")
copy = median["copy"]
for name, value in median.items():
    if "<" not in name:
        continue
    what, form = name[:-1].split("<")
    peer = median.get(f"{what}/{'fp4' if 'Fp4' in form else 'nf4'}/bitsandbytes")
    beside = f"{value / peer:.0f}" if "Nf4>" in name or "Fp4>" in name else ""
    print(f"| {what} {form.replace('qlora::', '')} | {value:.2f} | {value / copy:.2f} | {beside} |")
