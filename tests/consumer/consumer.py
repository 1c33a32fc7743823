"""Builds the consumer project in one of three ways and runs it.

    consumer.py bare|installed|fetched REPOSITORY COMPILER EIGEN_INCLUDE_FOLDER
"""
import pathlib
import subprocess
import sys
import tempfile

way, repository, compiler, eigen = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4]
source = repository / "tests/consumer"


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=folder)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    generator = ("-G", "Ninja", f"-DCMAKE_CXX_COMPILER={compiler}")
    if way == "bare":
        # No build system, and no library to link: io and text cost nothing that is not used.
        run(compiler, "-std=c++20", "-O1", "-Wall", "-Wextra", "-I", repository / "include", "-isystem", eigen,
            source / "matrix.cpp", "-o", folder / "matrix")
        programs = [folder / "matrix"]
    else:
        if way == "installed":
            run("cmake", "-S", repository, "-B", folder / "build", *generator, "-DQLORA_BUILD_TESTS=OFF",
                "-DQLORA_BUILD_EXAMPLES=OFF", "-DQLORA_BUILD_BENCH=OFF", f"-DCMAKE_INSTALL_PREFIX={folder / 'prefix'}")
            run("cmake", "--install", folder / "build")
            where = f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}"
        else:
            where = f"-DQLORA_SOURCE={repository}"
        run("cmake", "-S", source, "-B", folder / "consumer", *generator, where)
        run("cmake", "--build", folder / "consumer")
        programs = [folder / "consumer/matrix", folder / "consumer/files"]
    for program in programs:
        if (said := run(program)) != "fine":
            sys.exit(f"{program.name}: expected 'fine', found '{said}'")
print("fine")
