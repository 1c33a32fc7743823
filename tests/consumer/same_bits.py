"""Compiles same_bits.cpp in ways that round and fuse differently, and compares what the programs print.

    same_bits.py few|all REPOSITORY COMPILER EIGEN_INCLUDE_FOLDER
"""
import pathlib
import shutil
import subprocess
import sys
import tempfile

every, repository, compiler, eigen = sys.argv[1] == "all", pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4]
source = repository / "tests/consumer/same_bits.cpp"
ways = [[compiler, "-O0", "-DQLORA_NO_RUNTIME_AVX2"], [compiler, "-O3", "-march=native", "-ffp-contract=fast", "-fopenmp"]]
if every:
    ways += [[compiler, "-O2"], [compiler, "-O3", "-march=native"]]
if every and (clang := shutil.which("clang++-16") or shutil.which("clang++")):
    ways += [[clang, "-O2"], [clang, "-O3", "-march=native", "-ffp-contract=fast"]]
if nvcc := shutil.which("nvcc") or shutil.which("/usr/local/cuda/bin/nvcc"):
    ways.append([nvcc, "-x", "cu", "--expt-relaxed-constexpr", "-w"])
expected = None
with tempfile.TemporaryDirectory() as folder:
    for way in ways:
        include = ["-isystem", eigen] if "nvcc" not in way[0] else ["-I", eigen]
        program = pathlib.Path(folder) / "program"
        done = subprocess.run([*way, "-std=c++20", "-I", str(repository / "include"), *include, str(source), "-o", str(program)],
                              capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"{' '.join(way)}:\n{done.stderr}")
        said = subprocess.run([program], capture_output=True, text=True, check=True).stdout
        print(" ".join(way), said, sep="\n")
        expected = expected or said
        if said != expected or len(said.splitlines()) != 8:
            sys.exit("expected the first one's bits")
