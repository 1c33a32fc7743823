#!/usr/bin/env python3
"""What LoRA's placement and rank, the base's format, the trained tokens and the size of the training set do, over seeds.

    bench/study/lora.py build/examples MODEL.gguf TRAIN.jsonl HELD_OUT.jsonl OUTPUT [--steps 24] [--seeds 3]

Fine-tunes with `finetune` once for each row and seed and writes OUTPUT/lora.csv (one line a run; runs that are there are not
made again) and OUTPUT/lora.md (the mean held-out loss over the seeds, and their spread).
"""
import argparse
import csv
import pathlib
import re
import statistics
import subprocess
import sys

ROWS = {  # name: options beside the base's
    "nf4-dq, all projections, rank 16": [],
    "float base": ["--format", "float"],
    "attention only": ["--targets", "attention"],
    "rank 4": ["--rank", "4", "--alpha", "8"],
    "rank 64": ["--rank", "64", "--alpha", "128"],
    "questions and answers": ["--train-on", "questions-and-answers"],
    "half of the data": ["half"],
    "a quarter of the data": ["quarter"],
}
SHARES = {"half": 2, "quarter": 4}


def subset(train, share, folder):
    """Every share-th line of the training data, so that it stays as mixed."""
    path = folder / f"train-{share}.jsonl"
    path.write_text("".join(train.read_text(encoding="utf-8").splitlines(keepends=True)[::share]), encoding="utf-8")
    return path


def main():
    parser = argparse.ArgumentParser()
    for name in ("examples", "model", "train", "held_out", "output"):
        parser.add_argument(name, type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    table = arguments.output / "lora.csv"
    done = {(row["row"], int(row["seed"])): row for row in csv.DictReader(table.open())} if table.exists() else {}
    with table.open("a", newline="") as file:
        writer = csv.writer(file)
        if not done:
            writer.writerow(["row", "seed", "before", "after", "trainable"])
        for seed in range(arguments.seeds):
            for row, options in ROWS.items():
                if (row, seed) in done:
                    continue
                share = [SHARES[o] for o in options if o in SHARES]
                data = subset(arguments.train, share[0], arguments.output) if share else arguments.train
                # A part of the data is seen as often as the whole: the epochs stay, the steps shrink.
                steps = arguments.steps // (share[0] if share else 1)
                run = subprocess.run(
                    [arguments.examples / "finetune", "--model", arguments.model, "--data", data, "--eval-data",
                     arguments.held_out, "--output", arguments.output / "run", "--overwrite", "--steps", str(steps), "--seed", str(seed),
                     "--seq-len", "128", "--batch", "4", *[o for o in options if o not in SHARES]],
                    capture_output=True, text=True)
                if run.returncode:
                    sys.exit(run.stderr)
                before, after = (re.search(rf"held-out loss {when} (\S+)", run.stdout)[1] for when in ("before", "after"))
                writer.writerow([row, seed, before, after, re.search(r"trainable parameters (\d+)", run.stdout)[1]])
                file.flush()
                print(f"{row}, seed {seed}: {before} -> {after}", flush=True)
    runs = list(csv.DictReader(table.open()))
    lines = ["| | trainable | loss before | after | spread over seeds |", "|---|---|---|---|---|"]
    for row in ROWS:
        own = [run for run in runs if run["row"] == row]
        after = [float(run["after"]) for run in own]
        spread = f"{statistics.stdev(after):.4f}" if len(after) > 1 else ""
        lines.append(f"| {row} | {int(own[0]['trainable']):,} | {float(own[0]['before']):.4f} | {statistics.mean(after):.4f} | {spread} |")
    (arguments.output / "lora.md").write_text("\n".join(lines) + "\n")


main()
