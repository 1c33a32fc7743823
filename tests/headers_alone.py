"""Every header compiles by itself, as the first one of a file, without a warning.

    headers_alone.py REPOSITORY [FOLDER/]... -- COMPILER FLAGS...
"""
import concurrent.futures
import os
import pathlib
import subprocess
import sys

split = sys.argv.index("--")
root, wanted, command = pathlib.Path(sys.argv[1]), sys.argv[2:split], sys.argv[split + 1:]
include = root / "include"
headers = [str(path.relative_to(include)) for path in sorted((include / "qlora").rglob("*.hpp"))]
headers = [name for name in headers if not wanted or name.removeprefix("qlora/").startswith(tuple(wanted))]
warnings = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror")


def problem_of(name):
    done = subprocess.run([*command, "-std=c++20", "-fsyntax-only", *warnings, "-I", include, "-x", "c++", "-"],
                          input=f'#include "{name}"\n', capture_output=True, text=True)
    return "" if done.returncode == 0 else f"{name}:\n{done.stderr[:2000]}"


with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", os.cpu_count()))) as pool:
    problems = [problem for problem in pool.map(problem_of, headers) if problem]
print("\n".join(problems) or f"{len(headers)} headers compile alone with {' '.join(command)}")
sys.exit(1 if problems or not headers else 0)
