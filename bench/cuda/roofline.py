#!/usr/bin/env python3
"""What the kernels cost, without a device: registers, shared memory, occupancy, bytes and instructions a weight from the machine
code, and the time below which no device can be; bitsandbytes' kernels beside ours. Prints tables in Markdown.

    roofline.py [--wheel-folder FOLDER]     # bitsandbytes' wheel is fetched from PyPI into FOLDER (build/data/peers)
    roofline.py --save                      # also writes bitsandbytes.json, which tests/cuda/sass_test.py compares with

Needs nvcc, g++, c++filt, and PyPI's nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm.
"""
import argparse
import glob
import json
import os
import re
import subprocess
import sys
import tempfile
import zipfile

import sass

root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# Multiprocessors, GHz, GB/s, Tflop/s of bfloat16 summed in float: NVIDIA's data sheets and white papers of A100 SXM (80 GB),
# H100 SXM, RTX 4090 and HGX B200 (its clock is what its flop/s come to). mma.sync, which is used on all, reaches the last
# number on A100 and RTX 4090 only.
devices = {"A100": (80, 108, 1.41, 2039, 312), "H100": (90, 132, 1.83, 3350, 989), "RTX 4090": (89, 128, 2.52, 1008, 165),
           "B200": (100, 148, 1.85, 8000, 2250)}
# Ours: pattern, threads, weights a thread and turn of the main loop (where it stores: a store, as it may be unrolled), an
# instruction that marks it, bytes a weight beside the packed ones.
packed = 4 + 8 / 64 + 32 / (64 * 256)  # bits a weight of nf4-dq
ours = {
    "dequantize": (r"run<Dequantize<BlockFormat<NormalFloat<4.*DoubleQuant.*bfloat16", 256, 8, r"STG\.E\.128", 2),
    "gemv, 1 row": (r"run<Gemv<BlockFormat<NormalFloat<4.*DoubleQuant.*bfloat16, bfloat16, 1, \(Reads\)0", 128, 64, "FFMA", 0),
    "gemv, 8 rows": (r"run<Gemv<BlockFormat<NormalFloat<4.*DoubleQuant.*bfloat16, bfloat16, 8, \(Reads\)0", 128, 64, "FFMA", 0),
    "forward product, 128 x 128": (r"run<detail::PackedProduct<BlockFormat<NormalFloat<4.*DoubleQuant.*bfloat16, bfloat16, 128, 128, \(Reads\)0, \(Side\)0", 256,
                        16, "HMMA", 0),
    "backward product": (r"run<detail::PackedProduct<BlockFormat<NormalFloat<4.*DoubleQuant.*bfloat16, bfloat16, 128, 128, \(Reads\)0, \(Side\)1", 256,
                        16, "HMMA", 0),
}
# A thread of kDequantizeBlockwise<T, 512, 64, 8> stores weight by weight; one of gemm_4bit_simt 32 codes; the 128 x 128 x 64 product has
# 8192 weights a block of 256 threads.
theirs = {
    "dequantize": (r"kDequantizeBlockwise<__nv_bfloat16, 512, 64, 8, 2>", 64, 1, "STG", 2),
    "gemv, 1 row": (r"gemm_4bit_simt<__nv_bfloat16, 1>", 128, 32, "HFMA2", 0),
    "gemv, 8 rows": (r"gemm_4bit_simt<__nv_bfloat16, 8>", 128, 32, "HFMA2", 0),
    "forward product, 128 x 128": (r"gemm_4bit_sm80_m16n8k16<__nv_bfloat16, 128, 128, 64>", 256, 32, "HMMA", 0),
}


def measure(kernels, specification):
    """{what: (registers, shared bytes, threads, instructions a weight, bytes beside)}."""
    found = {}
    for what, (pattern, threads, weights, mark, beside) in specification.items():
        kernel = next((k for k in kernels if re.search(pattern, k.name)), None)
        loop = kernel and sass.main_loop(kernel, mark)
        if loop:
            if "STG" in mark:
                weights *= sum(bool(re.search(mark, text)) for text in loop.texts)
            found[what] = {"registers": kernel.registers, "shared": kernel.shared, "threads": threads,
                           "instructions": round(loop.length / weights, 2), "beside": beside}
    return found


def compiled(architecture, folder):
    cubin = os.path.join(folder, f"{architecture}.cubin")
    subprocess.run(["nvcc", "-std=c++20", "--expt-relaxed-constexpr", f"-arch=sm_{architecture}", "-I", os.path.join(root, "include"),
                    "-cubin", "-o", cubin, os.path.join(root, "tests", "cuda", "kernels.cu")], check=True)
    return sass.kernels(cubin)


def wheel(folder):
    """bitsandbytes' shared library for CUDA 13 and the wheel's version."""
    installed = glob.glob(os.path.join(folder, "lib", "python3*", "site-packages", "bitsandbytes", "libbitsandbytes_cuda130.so"))
    if installed:
        info = glob.glob(os.path.join(os.path.dirname(os.path.dirname(installed[0])), "bitsandbytes-*.dist-info"))
        return installed[0], re.search(r"bitsandbytes-([\d.]+)\.dist", info[0]).group(1)
    os.makedirs(folder, exist_ok=True)
    if not glob.glob(os.path.join(folder, "bitsandbytes-*.whl")):
        subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, "bitsandbytes"], check=True)
    path = glob.glob(os.path.join(folder, "bitsandbytes-*.whl"))[0]
    with zipfile.ZipFile(path) as archive:
        return archive.extract("bitsandbytes/libbitsandbytes_cuda130.so", folder), re.search(r"bitsandbytes-([\d.]+)-", path).group(1)


def of_wheel(library, architecture, folder):
    subprocess.run([sass.tool("cuobjdump"), "-xelf", f"sm_{architecture}", library], check=True, cwd=folder, capture_output=True)
    return sass.kernels(glob.glob(os.path.join(folder, f"*sm_{architecture}.cubin"))[0])


def occupancy(rows, folder):
    program = os.path.join(folder, "occupancy")
    subprocess.run(["g++", "-O1", "-isystem", os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(sass.shutil.which("nvcc")))),
                                                          "include"),
                    os.path.join(root, "bench", "cuda", "occupancy.cpp"), "-o", program], check=True)
    lines = "".join(f"{capability} {m['threads']} {m['registers']} {m['shared']}\n" for capability, m in rows)
    return [int(x) for x in subprocess.run([program], input=lines, capture_output=True, text=True, check=True).stdout.split()]


def bound(device, what, m, rows, cols, tokens):
    """Microseconds that memory, instructions or tensor cores need at least, and which of them it is."""
    _, multiprocessors, clock, bandwidth, flops = devices[device]
    weights = rows * cols
    memory = weights * (packed / 8 + m["beside"]) / bandwidth / 1e3
    repeats = max(1, tokens // 128) if "product" in what else 1
    issue = weights * repeats * m["instructions"] / 32 / (4 * multiprocessors * clock * 1e3)
    needs = {"memory": memory, "instructions": issue}
    if "product" in what:
        needs["tensor cores"] = 2 * weights * tokens / flops / 1e6
    most = max(needs, key=needs.get)
    return needs[most], most


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--wheel-folder", default=os.path.join(root, "build", "data", "peers"))
    parser.add_argument("--save", action="store_true")
    options = parser.parse_args()
    library, version = wheel(options.wheel_folder)
    with tempfile.TemporaryDirectory() as folder:
        measured = {}
        for name, (capability, *_) in devices.items():
            measured[name] = (measure(compiled(capability, folder), ours), measure(of_wheel(library, capability, folder), theirs))
        print(f"Format nf4-dq ({packed:.3f} bits a weight) in bfloat16; nvcc's code against bitsandbytes {version}. Registers a thread, "
              "bytes of shared memory a block, warps a multiprocessor, instructions a weight and thread in the main loop.\n")
        print("| device | kernel | registers | shared | warps | instructions a weight | bitsandbytes: registers | shared | warps | "
              "instructions a weight |\n|---|---|---|---|---|---|---|---|---|---|")
        for name, (own, peer) in measured.items():
            capability = devices[name][0]
            both = [(capability, m) for m in list(own.values()) + list(peer.values())]
            blocks = occupancy(both, folder)
            warps = [count * m["threads"] // 32 for count, (_, m) in zip(blocks, both)]
            own_warps, peer_warps = dict(zip(own, warps)), dict(zip(peer, warps[len(own):]))
            for what, m in own.items():
                p = peer.get(what)
                beside = f"{p['registers']} | {p['shared']} | {peer_warps[what]} | {p['instructions']}" if p else "– | – | – | –"
                print(f"| {name} | {what} | {m['registers']} | {m['shared']} | {own_warps[what]} | {m['instructions']} | {beside} |")
        print("\nBytes a weight: " + ", ".join(f"{what} {packed / 8 + ours[what][4]:.3f}" for what in ours) +
              ". Bounds in microseconds (what bounds): LLaMA-7B's 11008 x 4096 and SmolLM2's 1536 x 576; products of 2048 tokens.\n")
        print("| kernel | shape | " + " | ".join(f"{name} | bitsandbytes" for name in devices) + " |\n|---|---|" + "---|---|" * len(devices))
        for what in ours:
            for rows, cols in ((11008, 4096), (1536, 576)):
                cells = []
                for name, (own, peer) in measured.items():
                    for m in (own.get(what), peer.get(what)):
                        if m:
                            time, why = bound(name, what, m, rows, cols, 2048)
                            cells.append(f"{time:.1f} ({why})")
                        else:
                            cells.append("–")
                print(f"| {what} | {rows} x {cols} | " + " | ".join(cells) + " |")
        if options.save:
            kept = {"version": version, "made_by": "bench/cuda/roofline.py --save",
                    "instructions a weight": {f"sm_{devices[name][0]}": {what: m["instructions"] for what, m in peer.items()}
                                              for name, (_, peer) in measured.items() if devices[name][0] in (80, 90)}}
            with open(os.path.join(root, "bench", "cuda", "bitsandbytes.json"), "w") as file:
                json.dump(kept, file, indent=2)
                file.write("\n")


if __name__ == "__main__":
    main()
