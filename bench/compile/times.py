#!/usr/bin/env python3
"""Measures what each entry header costs a compiler, beside Eigen/Dense, and what files that load a model cost.

    python3 bench/compile/times.py [--compiler g++] [--runs 3] [--flags="-O1 -march=x86-64-v3"]

Each file is compiled to an object file. Times are the compiler's own processor time, the least of several runs, so that a busy
machine changes them little; memory is the compiler's peak. Needs what the headers need; prints a table in Markdown.
"""
import argparse
import os
import pathlib
import resource
import shlex
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[2]

LOADER = """
int main(int count, char** arguments) {
  if (count < 2) return 2;
  const auto source = OPEN(arguments[1]);
  qlora::Llama<> model = qlora::load_llama(*source, {.format = "nf4-dq"});
  model.adapt({.rank = 8, .alpha = 16});
  return model.parameters().empty() ? 1 : 0;
}
"""

FILES = {
    "Eigen/Dense": "#include <Eigen/Dense>\n",
    "qlora/quant.hpp": "#include <qlora/quant.hpp>\n",
    "qlora/nn.hpp": "#include <qlora/nn.hpp>\n",
    "qlora/train.hpp": "#include <qlora/train.hpp>\n",
    "qlora/qlora.hpp": "#include <qlora/qlora.hpp>\n",
    "qlora/train.hpp, qlora::compiled": "#define QLORA_COMPILED\n#include <qlora/train.hpp>\n",
    "a loader, qlora::compiled": "#define QLORA_COMPILED\n#include <qlora/model/load_llama.hpp>\n"
    + LOADER.replace("OPEN", "qlora::open_model"),
    "a loader of one format": "#include <qlora/model/load_llama.hpp>\n#include <qlora/model/open_model.hpp>\n"
    + LOADER.replace("OPEN", "qlora::open_model<qlora::FormatList<qlora::formats::nf4_dq>>"),
    "a loader of every format": "#include <qlora/model/load_llama.hpp>\n" + LOADER.replace("OPEN", "qlora::open_model"),
}


def compile_once(command):
    """Returns processor seconds and the peak in MiB of one compilation."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = subprocess.run(command, check=False).returncode
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        os.write(writer, f"{status} {used.ru_utime + used.ru_stime} {used.ru_maxrss / 1024}".encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        status, seconds, peak = answer.read().split()
    os.waitpid(child, 0)
    if int(status) != 0:
        raise SystemExit("compile times: failed: " + shlex.join(command))
    return float(seconds), float(peak)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compiler", default="g++")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--flags", default="-O1 -march=x86-64-v3")
    parser.add_argument("--only", help="only the rows whose name has this in it, beside Eigen/Dense")
    options = parser.parse_args()
    command = [options.compiler, "-std=c++20", *shlex.split(options.flags), "-I", str(ROOT / "include"),
               "-isystem", "/usr/include/eigen3", "-c"]
    print(f"`{options.compiler} {options.flags}`, least of {options.runs}\n")
    print("| file | seconds | times Eigen/Dense | peak, MiB |\n|---|---|---|---|")
    baseline = None
    with tempfile.TemporaryDirectory() as folder:
        for name, text in FILES.items():
            if baseline is not None and options.only and options.only not in name:
                continue
            source = pathlib.Path(folder) / "file.cpp"
            source.write_text(text)
            runs = [compile_once([*command, str(source), "-o", os.devnull]) for _ in range(options.runs)]
            seconds, peak = min(runs)
            baseline = baseline or seconds
            print(f"| {name} | {seconds:.1f} | {seconds / baseline:.1f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
