"""Two translation units of one program, one compiled with vectors, io_uring and OpenMP and one with none of them, both at -O0, link in
either order, and each behaves as it was built: no function is shared between them but those of errors and threads, of which a process has
one set.

    units.py REPOSITORY COMPILER EIGEN_INCLUDE_FOLDER
"""
import pathlib
import re
import sys
import tempfile

from steps import Steps

repository, compiler, eigen = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2], sys.argv[3]
MAIN = """
#include <iostream>
#include <string>
std::string with(int threads);
std::string without(int threads);
int main() { std::cout << with(3) << '\\n' << without(0) << '\\n' << without(2) << '\\n' << with(0) << '\\n'; }
"""


def library_symbols(path):
    """The functions and variables of the library that an object defines and others may share."""
    names = set()
    for line in run("nm", "--defined-only", "--demangle", path).splitlines():
        _, kind, name = line.split(" ", 2)
        if kind in "VvWuD" and "qlora::" in name:
            names.add(name)
    return names


def field(line, name):
    return re.search(rf"\b{name}:(\S+)", line)[1]


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    run = Steps(folder).run
    ring = pathlib.Path("/usr/include/liburing.h").exists()
    common = [compiler, "-std=c++20", "-O0", "-I", repository / "include", "-isystem", eigen, "-c", repository / "tests/consumer/unit.cpp"]
    run(*common, "-march=native", "-fopenmp", "-DWITH_HIGHWAY", *(["-DQLORA_USE_URING"] if ring else []), "-DUNIT=with", "-o", "with.o")
    run(*common, "-DQLORA_NO_HIGHWAY", "-DQLORA_NO_RUNTIME_AVX2", "-DUNIT=without", "-o", "without.o")
    (folder / "main.cpp").write_text(MAIN)
    run(compiler, "-std=c++20", "-c", "main.cpp", "-o", "main.o")

    both = library_symbols("with.o") & library_symbols("without.o")
    # Of one process: errors and their messages, threads, and sizes.
    own = re.compile(r"qlora::(\w*Error|Cancelled|message|require|thread_detail|thread_count|set_thread_count|parallel_\w+|grain_for|cpu_quota"
                     r"|usable_processors|processors_of_affinity)\b")
    wrong = sorted(each for each in both if not own.search(each) or re.search(r"qlora::(avx|sse|ssse|portable|neon)\w*::", each))
    if len(library_symbols("with.o")) < 50 or len(both) < 5 or wrong:
        sys.exit(f"expected errors and threads to be shared and nothing else, found {len(both)} names, among them\n" + "\n".join(wrong[:20]))

    for order in (("with.o", "without.o"), ("without.o", "with.o")):
        run(compiler, "-fopenmp", "main.o", *order, *(["-luring"] if ring else []), "-lpthread", "-o", "program")
        first, second, third, fourth = run(folder / "program").splitlines()
        for line, vectors in ((first, True), (second, False), (third, False), (fourth, True)):
            if (line.startswith("portable_scalar") == vectors or field(line, "product") != "right" or field(line, "error") != "caught"
                    or field(line, "compiled_ring") != ("yes" if ring and vectors else "no")
                    or not vectors and (field(line, "ring") != "no" or field(line, "vectors") != "no")
                    or field(line, "codes") != field(first, "codes") or field(line, "sum") != field(first, "sum")):
                sys.exit(f"{' '.join(order)}: found\n{first}\n{second}\n{third}\n{fourth}")
        threads = [field(line, "threads") for line in (first, second, third, fourth)]
        if threads != ["3", "3", "2", "2"]:
            sys.exit(f"{' '.join(order)}: expected one setting of threads for the process, 3 and then 2, found {threads}")
print(f"{len(both)} names shared, {first.split()[0]} beside {second.split()[0]}")
