"""Every kernel of a .cu file compiled for some architectures: no warning, no spill; and what the kernels promise in machine code:
tensor cores, asynchronous copies and loads of 128 bits, and no more instructions a weight than bitsandbytes' kernels have.

    sass_test.py FILE.cu INCLUDE_FOLDER ARCHITECTURE...
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile

bench = os.path.join(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))), "bench", "cuda")
sys.path.insert(0, bench)
import roofline
import sass

source, include, *architectures = sys.argv[1:]
nvcc = shutil.which("nvcc") or shutil.which("nvcc", path="/usr/local/cuda/bin")
if not nvcc:
    print("skipped: nvcc is not there")
    sys.exit(77)
# Kernels, and what each of them must have.
promised = [(r"PackedProduct<.*, \(Reads\)0, \(Side\)[01]>", ["HMMA.16816", r"LDGSTS\.E(\.BYPASS)?\.128", r"LDS\.128", r"STS"]),
            (r"Gemv<.*BlockFormat<(NormalFloat|SmallFloat).*, \(Reads\)0>", [r"LDG\.E.*\.128", "FFMA"]),
            (r"Dequantize<.*bfloat16", [r"STG\.E.*\.128"])]
failures = []
with open(os.path.join(bench, "bitsandbytes.json")) as file:
    theirs = json.load(file)["instructions a weight"]
with tempfile.TemporaryDirectory() as folder:
    for architecture in architectures:
        cubin = os.path.join(folder, f"{architecture}.cubin")
        run = subprocess.run([nvcc, "-std=c++20", "--expt-relaxed-constexpr", f"-arch=sm_{architecture}", "-I", include, "-Werror",
                              "all-warnings", "-Xcompiler", "-Wall,-Wextra", "-Xptxas", "-v", "-cubin", "-o", cubin, source],
                             capture_output=True, text=True)
        if run.returncode != 0:
            sys.exit(run.stderr)
        spilled = [int(n) for n in re.findall(r"(\d+) bytes spill stores", run.stderr)]
        print(f"sm_{architecture}: {len(spilled)} kernels, {sum(spilled)} bytes spilled")
        if not spilled or any(spilled):
            failures.append(f"sm_{architecture}: expected kernels without spills, found {spilled}")
        try:
            kernels = sass.kernels(cubin)
        except FileNotFoundError as missing:
            print(f"machine code is not looked at: {missing}")
            continue
        for pattern, instructions in promised:
            fitting = [kernel for kernel in kernels if re.search(pattern, kernel.name)]
            if not fitting:
                failures.append(f"sm_{architecture}: no kernel is a {pattern}")
            for kernel in fitting:
                for instruction in instructions:
                    # Float activations are rounded on their way and not copied as they are.
                    if "LDGSTS" in instruction and "float, float" in kernel.name:
                        continue
                    if not sass.has(kernel, instruction):
                        failures.append(f"sm_{architecture}: {kernel.name[:120]}: no {instruction}")
        for what, limit in theirs.get(f"sm_{architecture}", {}).items():
            if "product" in what:
                continue  # bounded by tensor cores; docs/cuda.md compares
            found = roofline.measure(kernels, roofline.ours).get(what)
            print(f"sm_{architecture}: {what}: {found and found['instructions']} instructions a weight, bitsandbytes {limit}")
            if not found or found["instructions"] > limit:
                failures.append(f"sm_{architecture}: {what}: expected at most {limit} instructions a weight, found {found}")
print("\n".join(failures))
sys.exit(1 if failures else 0)
