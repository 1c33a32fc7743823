"""Every named format, every type and every product for every architecture: registers, shared memory and spills, as a table in
Markdown. Ends with 1 where a kernel spills on sm_80 or later.

    matrix.py INCLUDE_FOLDER [ARCHITECTURE...]
"""
import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

include = sys.argv[1]
architectures = sys.argv[2:] or ["75", "80", "90", "100", "120"]
formats = ["nf4", "nf4_dq", "nf4_dq2", "fp4", "fp4_dq", "fp4_e2m1", "fp4_e3m0", "int4", "int4_16", "af4", "bof4", "bof4_s", "bof4_s_opq",
           "learned4", "nf3", "nf2", "nf8", "mxfp4", "nvfp4", "q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl"]
types = ["float", "qlora::float16", "qlora::bfloat16"]
products = ["Gemv<F, T, T, 1, reads>", "Gemv<F, T, T, 8, reads>", "ForwardProduct<F, T, T, 32, 64, reads>", "ForwardProduct<F, T, T, 128, 128, reads>",
            "BackwardProduct<F, T, T, 32, 64, reads>", "BackwardProduct<F, T, T, 128, 128, reads>", "Dequantize<F, T>"]


def source(name, number):
    lines = ["#include <qlora/cuda/dequantize.hpp>", "#include <qlora/cuda/gemm.hpp>", "#include <qlora/quant/named_formats.hpp>",
             "using namespace qlora::cuda;", f"using F = qlora::formats::{name};", f"using T = {number};",
             "inline constexpr Reads reads = has_words<F> ? Reads::words : Reads::weights;"]
    lines += [f"template __global__ void qlora::cuda::run(const __grid_constant__ {product});" for product in products]
    return "\n".join(lines) + "\n"


def compile_one(name, number, architecture):
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "kernels.cu")
        with open(path, "w") as file:
            file.write(source(name, number))
        run = subprocess.run(["nvcc", "-std=c++20", "--expt-relaxed-constexpr", f"-arch=sm_{architecture}", "-I", include, "-Xptxas", "-v",
                              "-cubin", "-o", os.path.join(folder, "out.cubin"), path], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{name}, {number}, sm_{architecture}:\n{run.stderr}")
    registers = [int(x) for x in re.findall(r"Used (\d+) registers", run.stderr)]
    shared = [int(x) for x in re.findall(r"(\d+) bytes smem", run.stderr)]
    spilled = [int(x) for x in re.findall(r"(\d+) bytes spill stores", run.stderr)]
    return name, number, architecture, len(registers), max(registers), max(shared, default=0), sum(spilled)


cases = [(name, number, architecture) for name in formats for number in types for architecture in architectures]
found = {}
with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
    for name, number, architecture, *rest in pool.map(lambda case: compile_one(*case), cases):
        found[name, number, architecture] = rest
print(f"{len(products)} kernels a cell: most registers a thread / most shared memory of a block in KiB, and bytes spilled where any.\n")
print("| format | type | " + " | ".join(f"sm_{a}" for a in architectures) + " |\n|---|---|" + "---|" * len(architectures))
bad = 0
for name in formats:
    for number in types:
        cells = []
        for architecture in architectures:
            _, registers, shared, spilled = found[name, number, architecture]
            cells.append(f"{registers} / {shared / 1024:.0f}" + (f", {spilled} spilled" if spilled else ""))
            bad += spilled > 0 and int(architecture) >= 80
        print(f"| {name} | {number.replace('qlora::', '')} | " + " | ".join(cells) + " |")
print(f"\n{len(cases) * len(products)} kernels")
sys.exit(bad > 0)
