"""The CUDA snippets of the documents compile as they stand: the one of README.md, given the pointers and sizes that it speaks of, and the one in
quant/quantized_view.hpp, which needs no other header.

    snippets_test.py REPOSITORY
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

nvcc = shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc")
if not nvcc:
    print("skipped: nvcc is not there")
    sys.exit(77)
root = pathlib.Path(sys.argv[1])


def compiles(name, source):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"{name}.cu"
        path.write_text(source)
        run = subprocess.run([nvcc, "-std=c++20", "--expt-relaxed-constexpr", "-arch=sm_90", "-I", root / "include", "-c", path,
                              "-o", path.with_suffix(".o")], capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"{name}:\n{source}\n{run.stderr}")


def function_of(code):
    """A file of the snippet: its includes, and its statements in a function."""
    lines = code.splitlines()
    includes = [line for line in lines if line.startswith("#include")]
    body = [line for line in lines if not line.startswith("#include")]
    return "\n".join(includes + ["void snippet(const float* weights, const float* x, float* y, qlora::Index rows, qlora::Index cols,",
                                 "             qlora::Index tokens) {"] + body + ["}"])


found = 0
for document in ("README.md", "docs/cuda.md"):
    for code in re.findall(r"```cpp\n(.*?)```", (root / document).read_text(), re.S):
        if "qlora::cuda::" in code:
            compiles(document.replace("/", "_"), function_of(code))
            found += 1
header = (root / "include/qlora/quant/quantized_view.hpp").read_text().split("#pragma once")[0]
example = [line.removeprefix("///     ") for line in header.splitlines() if line.startswith("///     ")]
compiles("quantized_view", "\n".join(example + ["void use(float* out) {", "  row_sums<qlora::Nf4Dq><<<1, 32>>>({}, out);", "}"]))
assert found > 0, "no snippet was found"
print(f"{found + 1} snippets compile")
