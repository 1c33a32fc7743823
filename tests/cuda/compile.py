"""Compiles a .cu file for some architectures without warnings, and looks that no kernel spills registers.

    compile.py FILE.cu INCLUDE_FOLDER ARCHITECTURE...
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
with tempfile.TemporaryDirectory() as folder:
    targets = [option for arch in sys.argv[3:] for option in ("-gencode", f"arch=compute_{arch},code=sm_{arch}")]
    command = [nvcc, "-std=c++20", "--expt-relaxed-constexpr", *targets, "-Werror", "all-warnings",
               "-Xcompiler", "-Wall,-Wextra", "-Xptxas", "-v", "-I", sys.argv[2], "-c", sys.argv[1],
               "-o", os.path.join(folder, "out.o")]
    run = subprocess.run(command, capture_output=True, text=True)
if run.returncode != 0:
    sys.exit(run.stderr)
spills = re.findall(r"(\d+) bytes spill stores", run.stderr)
print(f"{len(spills)} kernels, bytes spilled: {', '.join(spills)}")
sys.exit(0 if spills and all(bytes_ == "0" for bytes_ in spills) else 1)
