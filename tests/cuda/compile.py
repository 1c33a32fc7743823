"""Compiles a .cu file for some architectures without warnings, and looks that no kernel spills registers, and if asked that no
product of floats is fused with a sum, nor left for the assembler to fuse.

    compile.py FILE.cu INCLUDE_FOLDER [--rounded-apart] ARCHITECTURE...
"""
import os
import re
import shutil
import subprocess
import sys
import tempfile

nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
if not nvcc:
    print("skipped: nvcc is not there")
    sys.exit(77)
rounded_apart = "--rounded-apart" in sys.argv
if rounded_apart:
    sys.argv.remove("--rounded-apart")
with tempfile.TemporaryDirectory() as folder:
    targets = [option for arch in sys.argv[3:] for option in ("-gencode", f"arch=compute_{arch},code=sm_{arch}")]
    command = [nvcc, "-std=c++20", "--expt-relaxed-constexpr", *targets, "-Werror", "all-warnings",
               "-Xcompiler", "-Wall,-Wextra", "-Xptxas", "-v", "-I", sys.argv[2], "-c", sys.argv[1],
               "-o", os.path.join(folder, "out.o")]
    run = subprocess.run(command, capture_output=True, text=True)
    if rounded_apart and run.returncode == 0:
        for arch in sys.argv[3:]:
            ptx = os.path.join(folder, f"{arch}.ptx")
            subprocess.run([nvcc, "-std=c++20", "--expt-relaxed-constexpr", f"-arch=compute_{arch}", "-I", sys.argv[2], "-ptx",
                            sys.argv[1], "-o", ptx], check=True)
            with open(ptx) as file:
                text = file.read()
            # mul.rn.f32 is never fused; mul.f32 may be.
            fused = re.findall(r".*\b(?:fma\.rn|mul|mad)\.f32.*", text)
            if fused or "mul.rn.f32" not in text:
                sys.exit(f"{len(fused)} products that are or may be fused:\n" + "\n".join(fused[:10]))
if run.returncode != 0:
    sys.exit(run.stderr)
spills = re.findall(r"(\d+) bytes spill stores", run.stderr)
print(f"{len(spills)} kernels, bytes spilled: {', '.join(spills)}")
sys.exit(0 if spills and all(bytes_ == "0" for bytes_ in spills) else 1)
