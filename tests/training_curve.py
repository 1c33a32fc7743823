#!/usr/bin/env python3
"""Trains the real model by float32 AdamW and by 8-bit AdamW in paged memory, with three seeds, and compares the curves: the mean
losses of every ten steps may differ by 1 %. Prints a table in Markdown; ends with 1 where they differ more.

    training_curve.py EXAMPLES_FOLDER MODEL.gguf TEXT [--steps 200]
"""
import argparse
import csv
import pathlib
import subprocess
import sys
import tempfile

parser = argparse.ArgumentParser()
parser.add_argument("examples", type=pathlib.Path)
parser.add_argument("model")
parser.add_argument("text")
parser.add_argument("--steps", type=int, default=200)
options = parser.parse_args()


def losses(folder, seed, *more):
    subprocess.run([options.examples / "finetune", "--model", options.model, "--data", options.text, "--output", folder, "--steps",
                    str(options.steps), "--batch", "1", "--seq-len", "128", "--seed", str(seed), *more], check=True,
                   stdout=subprocess.DEVNULL)
    with open(folder / "metrics.csv") as file:
        return [float(row["loss"]) for row in csv.DictReader(file)]


worst = 0.0
print("| seed | adamw: first, last ten steps | adamw8bit, paged: last ten | largest difference of ten steps' means |\n|---|---|---|---|")
for seed in (0, 1, 2):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        whole = losses(folder / "whole", seed)
        paged = losses(folder / "paged", seed, "--optimizer", "adamw8bit", "--paged", name, "--paged-budget", "4MiB")
    tens = [[sum(run[i:i + 10]) / 10 for i in range(0, options.steps - 9, 10)] for run in (whole, paged)]
    largest = max(abs(b / a - 1) for a, b in zip(*tens))
    worst = max(worst, largest)
    print(f"| {seed} | {tens[0][0]:.4f}, {tens[0][-1]:.4f} | {tens[1][-1]:.4f} | {largest:.2%} |", flush=True)
sys.exit(worst > 0.01)
