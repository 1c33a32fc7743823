"""A .cu and a .cpp of one target link and agree, with the processor's flags and without: qlora::cuda hands the flags that the library's
names are spelled from to nvcc's host compiler. Given to the .cpp alone, the program does not link.

    both.py REPOSITORY COMPILER EIGEN_INCLUDE_FOLDER
"""
import pathlib
import shutil
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent))
from steps import Steps  # noqa: E402

repository, compiler = pathlib.Path(sys.argv[1]).resolve(), sys.argv[2]
if not shutil.which("nvcc"):
    print("skipped: no nvcc")
    sys.exit(77)


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    steps = Steps(folder)
    run = steps.run
    steps.install(repository, compiler)
    found = []
    for flags in ("-O1", "-O1 -march=native"):
        run("cmake", "-S", repository / "tests/consumer/cuda", "-B", "both", "--fresh", "-G", "Ninja", f"-DCMAKE_CXX_COMPILER={compiler}",
            f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}", f"-DCMAKE_CXX_FLAGS={flags}", f"-DCMAKE_CUDA_HOST_COMPILER={compiler}")
        run("cmake", "--build", "both")
        found.append(run(folder / "both/both"))
    if found[0] != "portable fine" or not found[1].endswith(" fine") or found[1] == found[0]:
        sys.exit(f"expected 'portable fine' and the same of another build, found {found}")
    # The device's unit as built last, the host's with other flags: names that differ do not link.
    run(compiler, "-std=c++20", "-O1", "-I", repository / "include", "-isystem", sys.argv[3], "-c",
        repository / "tests/consumer/cuda/host.cpp", "-o", "host.o")
    device = next((folder / "both").rglob("device.cu.o"))
    linked = steps.attempt(compiler, "host.o", device, "-o", "program")
    if linked.returncode == 0 or "device_unit" not in linked.stderr:
        sys.exit(f"expected the linker to miss names, found {linked.returncode}\n{linked.stderr[:2000]}")
print(", ".join(found))
