#!/usr/bin/env python3
"""What a program is like that is compiled with -O2 and nothing else: decoding and products of a [1536, 1536] weight, beside
Eigen's dense products and beside the scalar path (without Highway and without the choice of AVX2 at run time).

    python3 bench/linalg/plain_flags.py [--compiler g++] [--eigen FOLDER] [--highway FOLDER ...] [--flags "-march=x86-64-v3"]

--highway: folders that hold hwy/highway.h, older and newer, beside the compiler's own. Prints a Markdown table.
"""
import argparse
import pathlib
import subprocess
import tempfile

root = pathlib.Path(__file__).resolve().parents[2]
parser = argparse.ArgumentParser()
parser.add_argument("--compiler", default="g++")
parser.add_argument("--eigen", default="/usr/include/eigen3")
parser.add_argument("--highway", nargs="*", default=[])
parser.add_argument("--flags", default="")
options = parser.parse_args()

ways = {"scalar": ["-DQLORA_NO_HIGHWAY", "-DQLORA_NO_RUNTIME_AVX2"], "without Highway": ["-DQLORA_NO_HIGHWAY"], "as found": []}
ways |= {f"Highway in {pathlib.Path(folder).name}": ["-isystem", folder] for folder in options.highway}
print("| what, tokens | way | ms | beside Eigen's | beside scalar |\n|---|---|---|---|---|")
times = {}
with tempfile.TemporaryDirectory() as folder:
    for way, flags in ways.items():
        program = pathlib.Path(folder) / "program"
        subprocess.run([options.compiler, "-std=c++20", "-O2", *options.flags.split(), *flags, "-I", root / "include", "-isystem",
                        options.eigen, root / "bench/linalg/plain_flags.cpp", "-o", program], check=True)
        for line in subprocess.run([program], capture_output=True, text=True, check=True).stdout.splitlines()[1:]:
            what, tokens, own, dense = line.split()
            times[what, int(tokens), way] = float(own), float(dense)
for (what, tokens, way), (own, dense) in sorted(times.items(), key=lambda item: item[0][:2]):
    beside = f"{own / dense:.2f}" if dense > 0 else ""
    print(f"| {what} {tokens or ''} | {way} | {own:.2f} | {beside} | {own / times[what, tokens, 'scalar'][0]:.2f} |")
