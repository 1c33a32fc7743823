"""Builds the consumer project in one of three ways and runs it; or configures it where something differs, and reads what CMake says.

    consumer.py bare|installed|fetched|configured REPOSITORY COMPILER EIGEN_INCLUDE_FOLDER
"""
import pathlib
import shutil
import sys
import tempfile

from steps import NOTHING_BUILT, Steps

way, repository, compiler, eigen = sys.argv[1], pathlib.Path(sys.argv[2]), sys.argv[3], sys.argv[4]
source = repository / "tests/consumer"
generator = ("-G", "Ninja", f"-DCMAKE_CXX_COMPILER={compiler}")


def expect(condition, sentence, found):
    if not condition:
        sys.exit(f"expected {sentence}, found:\n{found}")


def refused(sentence, *options):
    """The consumer does not configure with these options, and CMake says why."""
    done = steps.attempt("cmake", "-S", source, "-B", folder / "refused", "--fresh", *generator,
                   f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}", *options)
    words = " ".join(done.stderr.split())
    expect(done.returncode != 0 and sentence in words, f"to be refused with '{sentence}'", done.stdout + done.stderr)


def fake_eigen(version):
    """A package of Eigen's headers that takes requests for its own major number only, as Eigen's does."""
    package = folder / f"eigen-{version}"
    package.mkdir()
    (package / "Eigen3Config.cmake").write_text(
        "add_library(Eigen3::Eigen INTERFACE IMPORTED)\n"
        f"target_include_directories(Eigen3::Eigen INTERFACE \"{eigen}\")\n")
    (package / "Eigen3ConfigVersion.cmake").write_text(
        f"set(PACKAGE_VERSION {version})\n"
        f"if(NOT PACKAGE_FIND_VERSION OR PACKAGE_FIND_VERSION_MAJOR EQUAL {version.split('.')[0]})\n"
        "  set(PACKAGE_VERSION_COMPATIBLE TRUE)\nendif()\n")
    return f"-DEigen3_DIR={package}"


def check_configuring():
    said = steps.install(repository, compiler)
    run("cmake", "-S", repository, "-B", folder / "kept", *generator, *NOTHING_BUILT, "-DQLORA_INSTALL=OFF",
        f"-DCMAKE_INSTALL_PREFIX={folder / 'nothing'}")
    run("cmake", "--install", folder / "kept")
    expect(not (folder / "nothing").exists(), "QLORA_INSTALL=OFF to install nothing", list((folder / "nothing").rglob("*")))
    expect("CMAKE_BUILD_TYPE is empty: Release is taken" in said, "a line about the empty build type", said)
    cache = (folder / "build/CMakeCache.txt").read_text()
    expect("CMAKE_BUILD_TYPE:STRING=Release\n" in cache, "the build type Release", cache)
    refused("qlora's component 'text' needs nlohmann-json and PCRE2", "-DCMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON")
    refused("qlora's component 'text' needs nlohmann-json and PCRE2", "-DPCRE2_LIBRARY=PCRE2_LIBRARY-NOTFOUND",
            "-DPCRE2_INCLUDE_DIR=PCRE2_INCLUDE_DIR-NOTFOUND", "-DCMAKE_FIND_ROOT_PATH=/nowhere", "-DCMAKE_FIND_ROOT_PATH_MODE_LIBRARY=ONLY",
            "-DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY")
    refused("qlora has no component 'txt'", "-DCOMPONENT=txt")
    refused("qlora needs Eigen 3.4 or later, found 3.3.9", fake_eigen("3.3.9"))
    run("cmake", "-S", source, "-B", folder / "eigen5", *generator, f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}", fake_eigen("5.0.1"))
    no_vectors = run("cmake", "-S", source, "-B", folder / "plain", *generator, f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}")
    expect("qlora: CMAKE_CXX_FLAGS name no processor" in no_vectors, "a line about vectors", no_vectors)
    vectors = run("cmake", "-S", source, "-B", folder / "native", *generator, f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}",
                  "-DCMAKE_CXX_FLAGS=-march=native")
    expect("qlora: " not in vectors, "no line about vectors", vectors)
    no_highway = run("cmake", "-S", source, "-B", folder / "highway", *generator, f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}",
                     "-DHIGHWAY_INCLUDE_DIR=HIGHWAY_INCLUDE_DIR-NOTFOUND", "-DCMAKE_FIND_ROOT_PATH=/nowhere",
                     "-DCMAKE_FIND_ROOT_PATH_MODE_INCLUDE=ONLY", "-DCOMPONENT=memory")
    expect("qlora: Highway is not found" in no_highway, "a line about Highway", no_highway)


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    steps = Steps(folder)
    run = steps.run
    programs = []
    if way == "bare":
        # No build system, and no library to link: io and text cost nothing that is not used. No warning either, whatever is asked for.
        strict = ("-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Wshadow", "-Werror", "-I", repository / "include", "-isystem", eigen)
        run(compiler, "-std=c++20", "-O0", *strict, source / "matrix.cpp", "-o", folder / "matrix")
        if clang := shutil.which("clang++-16") or shutil.which("clang++"):
            run(clang, "-std=c++20", "-fsyntax-only", *strict, source / "matrix.cpp")
        programs = [folder / "matrix"]
    elif way == "configured":
        check_configuring()
    else:
        if way == "installed":
            steps.install(repository, compiler)
            where = f"-DCMAKE_PREFIX_PATH={folder / 'prefix'}"
        else:
            where = f"-DQLORA_SOURCE={repository}"
        run("cmake", "-S", source, "-B", folder / "consumer", *generator, where, f"-DCMAKE_INSTALL_PREFIX={folder / 'installed'}")
        built = ["matrix", "files"] if way == "installed" else ["matrix"]
        run("cmake", "--build", folder / "consumer", "--target", *built)
        programs = [folder / "consumer" / name for name in built]
        run("cmake", "--install", folder / "consumer")
        found = sorted(str(path.relative_to(folder)) for path in (folder / "installed").rglob("*") if path.is_file())
        expect(found == ["installed/bin/matrix"], "the consumer's own program to be installed and nothing else", found)
    for program in programs:
        if (said := run(program)) != "fine":
            sys.exit(f"{program.name}: expected 'fine', found '{said}'")
print("fine")
