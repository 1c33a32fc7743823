#!/usr/bin/env bash
# Installs what is needed, builds the programs and tests with the release preset into build/, and runs every test; then some folders'
# tests without Highway, under the address and undefined-behaviour sanitizers and under the thread sanitizer, and the fuzzers.
# What takes longer is in tests/long.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
source scripts/setup.sh
install_packages "${build_packages[@]}" catch2 librapidcheck-dev libbenchmark-dev clang-16 libclang-rt-16-dev libboost-context-dev

fetch_model
fetch_jargon
if [ ! -x "$data/venv/bin/clang-format" ]; then
  step "install clang-format 14 from PyPI"
  "$data/venv/bin/pip" install --quiet --disable-pip-version-check clang-format==14.0.6
fi

# Where nvcc is, its code is looked at; the toolkit does not always bring the disassembler.
if command -v nvcc >/dev/null && ! command -v nvdisasm >/dev/null; then
  "$data/venv/bin/pip" install --quiet --disable-pip-version-check nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm
fi

# Warnings are errors here and in the presets below. The benchmarks are built by tests/long.sh, with clang.
build_release -DQLORA_BUILD_TESTS=ON -DQLORA_BUILD_BENCH=OFF -DQLORA_WERROR=ON -DQLORA_PROGRAMS_OPTIMIZED=-O1

step "test everything"
ctest --test-dir build --output-on-failure -j "$(nproc)"

build_and_test tsan "core;memory"
build_and_test asan "memory;io"
build_and_test fuzz "fuzz"
build_and_test plain "quant"
step "done"
