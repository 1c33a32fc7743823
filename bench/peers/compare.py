#!/usr/bin/env python3
"""Runs this library's products and codes and the peers' in turn, several rounds, and prints tables in Markdown: medians, and
ratios to the best dense product and to bitsandbytes; rows that miss their goal are marked.

    compare.py PEERS_PYTHON ONEDNN_PROGRAM [--rounds 3] [--threads 1]
"""
import argparse
import collections
import json
import os
import statistics
import subprocess
import sys

# Times the best dense product of the same arithmetic; batch 4 is not in the goals: 16's is taken.
GOALS = {"": {1: 2.5, 4: 1.3, 16: 1.3, 64: 1.0, 256: 1.0}, "-bf16": {1: 2.5, 64: 1.2, 256: 1.2}}
PEERS = {"": ("Eigen", "OpenBLAS", "oneDNN", "torch"), "-bf16": ("oneDNN-bf16", "torch-bf16")}
OWN = {"": ("nf4-dq", "nf4", "float32"), "-bf16": ("nf4-dq-bf16",)}
SHAPES = ("1536x576", "4096x4096")
TOKENS = (1, 4, 16, 64, 256)

parser = argparse.ArgumentParser()
parser.add_argument("python")
parser.add_argument("onednn")
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--threads", type=int, default=1)
options = parser.parse_args()
environment = {**os.environ, "OMP_NUM_THREADS": str(options.threads)}
runs = collections.defaultdict(list)


def output(*command):
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout


def own(program, chosen):
    text = output(f"build/bench/{program}", "--benchmark_format=json", "--benchmark_min_time=0.15", f"--benchmark_filter={chosen}")
    return json.loads(text)["benchmarks"]


for round_ in range(options.rounds):
    print(f"round {round_ + 1} of {options.rounds}", file=sys.stderr)
    for each in own("bench_products", f"^({'|'.join(SHAPES)})/({'|'.join(map(str, TOKENS))})/"):
        runs["/".join(each["name"].split("/")[:4])].append(each["Gflop/s"])
    for each in own("bench_codes", "copy|nf4>|nf4_dq|fp4>|nf3|nf8|q4_1"):
        runs[each["name"].split("/")[0]].append(each["Gweights/s"])
    for peers in (output(options.onednn), output(options.python, "bench/peers/products.py", "--threads", str(options.threads))):
        for name, value in json.loads(peers.splitlines()[-1]).items():
            runs[name].append(value)

median = {name: statistics.median(values) for name, values in runs.items()}
spread = statistics.median((max(v) - min(v)) / statistics.median(v) for v in runs.values() if statistics.median(v) > 0)
print(f"{options.threads} thread(s), {options.rounds} rounds; medians in Gflop/s; half of the rows vary by less than {spread:.0%} between "
      "rounds. \"of dense\" is nf4-dq over the best dense product.\n")
for arithmetic, peers in PEERS.items():
    beside = (*OWN[arithmetic], *peers, *(() if arithmetic else ("bitsandbytes",)))
    print(f"| {'bfloat16' if arithmetic else 'float32'}: shape, batch | product | {' | '.join(beside)} | of dense | goal |")
    print("|---" * (len(beside) + 4) + "|")
    for shape in SHAPES:
        for tokens in TOKENS:
            for product in ("y", "dx"):
                get = lambda who: median.get(f"{shape}/{tokens}/{product}/{who}", 0.0)  # noqa: E731
                best, goal = max(get(who) for who in peers), GOALS[arithmetic].get(tokens)
                ratio = get(OWN[arithmetic][0]) / best if best else 0
                cells = " | ".join(f"{get(who):.1f}" if get(who) else "" for who in beside)
                verdict = "" if goal is None else f"{goal}{'' if ratio >= goal else ' **missed**'}"
                print(f"| {shape}, {tokens} | {product} | {cells} | {ratio:.2f} | {verdict} |")
    print()
print("| 4096 x 4096 | Gweights/s | of a copy | of bitsandbytes |\n|---|---|---|---|")
copy = median["copy"]
for name, value in median.items():
    if "<" not in name:
        continue
    what, form = name[:-1].split("<")
    peer = median.get(f"{what}/{'fp4' if 'fp4' in form else 'nf4'}/bitsandbytes")
    beside = f"{value / peer:.0f}" if "nf4>" in name or ":fp4>" in name else ""
    print(f"| {what} {form.rpartition('::')[2]} | {value:.2f} | {value / copy:.2f} | {beside} |")
