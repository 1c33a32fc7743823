#!/usr/bin/env python3
"""Counts the instructions of decoding, encoding and the products at a fixed shape under valgrind, which repeats on a noisy
machine, and compares them with bench/baseline.txt. Ends with 1 when one grew by more than 5 %.

    python3 bench/instructions.py [--update] [--compiler g++]

Needs valgrind and Eigen; builds for x86-64-v3, because valgrind knows no AVX-512.
"""
import argparse
import pathlib
import re
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parents[1]
parser = argparse.ArgumentParser()
parser.add_argument("--update", action="store_true")
parser.add_argument("--compiler", default="g++")
options = parser.parse_args()
counts = {}
with tempfile.TemporaryDirectory() as folder:
    program = pathlib.Path(folder) / "instructions"
    subprocess.run([options.compiler, "-std=c++20", "-O3", "-march=x86-64-v3", "-I", root / "include", "-isystem", "/usr/include/eigen3",
                    root / "bench/linalg/instructions.cpp", "-o", program], check=True)
    for what in ("decode", "encode", "gemv", "y", "dx"):
        run = subprocess.run(["valgrind", "--tool=callgrind", "--collect-atstart=no", "--toggle-collect=*measured*",
                              f"--callgrind-out-file={folder}/out", program, what], capture_output=True, text=True, check=True)
        counts[what] = int(re.search(r"Collected : (\d+)", run.stderr)[1])
baseline = root / "bench/baseline.txt"
if options.update:
    version = subprocess.run([options.compiler, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
    baseline.write_text(f"# instructions at [192, 576] in nf4-dq, 64 tokens (gemv: 1), x86-64-v3, {version}\n"
                        + "".join(f"{what} {count}\n" for what, count in counts.items()))
before = {line.split()[0]: int(line.split()[1]) for line in baseline.read_text().splitlines() if not line.startswith("#")}
grown = False
for what, count in counts.items():
    change = count / before[what] - 1
    grown |= change > 0.05
    print(f"{what:8} {count:12} {change:+.1%}{'  grew' if change > 0.05 else ''}")
sys.exit(1 if grown else 0)
