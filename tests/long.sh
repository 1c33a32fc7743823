#!/usr/bin/env bash
# What takes too long for every change: everything with clang 16 without a warning and its tests, clang-tidy over the
# headers, each header alone without a warning on two compilers and four processors, laws with a hundred times their budget, 200 steps of 8-bit paged AdamW beside float32 AdamW, NEON under
# qemu, every format for x86-64-v3 and without Highway, every folder under the address sanitizer, threads under the thread sanitizer
# and paged memory under valgrind, more compilers and flags whose bits are compared, every format's kernels for every CUDA
# architecture, a real model of another family beside transformers, and the chat templates of a package beside Python's jinja2. Some hours on two cores.
#
#   bash tests/long.sh [clang] [tidy] [headers] [laws] [curve] [neon] [formats] [sanitize] [bits] [cuda] [models] [templates]
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
source scripts/setup.sh
parts=${*:-clang tidy headers laws curve neon formats sanitize bits cuda models templates}
install_packages "${build_packages[@]}" catch2 librapidcheck-dev libbenchmark-dev clang-16 clang-tidy-16 libclang-rt-16-dev valgrind libboost-context-dev
fetch_model
fetch_jargon

for part in $parts; do
  case $part in
    clang)
      step "build everything with clang 16, warnings are errors"
      cmake --preset clang >build/clang-configure.log
      cmake --build --preset clang
      step "test with clang 16"
      ctest --preset clang -j "$(nproc)"
      ;;
    tidy)
      step "clang-tidy"
      cmake --preset clang >build/clang-configure.log
      printf '%s\n' examples/*.cpp examples/programs/*.cpp bench/*/*.cpp | xargs -n 1 -P "$(nproc)" clang-tidy-16 --quiet -p build/clang
      ;;
    headers)
      for compiler in g++ clang++-16; do
        for processor in "" -march=x86-64-v2 -march=x86-64-v3 -march=native; do
          step "each header alone: $compiler $processor"
          python3 tests/headers_alone.py . -- "$compiler" $processor -isystem /usr/include/eigen3
        done
      done
      ;;
    laws)
      step "laws with a long budget"
      build_release
      RC_PARAMS="max_success=10000" QLORA_LAW_MS=50000 ctest --test-dir build --output-on-failure -j "$(nproc)" \
        -R "^(core|codebook|quant|linalg|nn|io|text|model):"
      ;;
    curve)
      step "the training curve of 8-bit paged AdamW"
      build_release
      python3 tests/training_curve.py build/examples "$model" "$jargon"
      ;;
    neon)
      step "quant and linalg on NEON, under qemu"
      if ! dpkg --print-foreign-architectures | grep -qx arm64; then
        as_root=(); [ "$(id -u)" -eq 0 ] || as_root=(sudo)
        "${as_root[@]}" dpkg --add-architecture arm64
        "${as_root[@]}" apt-get update -qq
      fi
      install_packages g++-aarch64-linux-gnu qemu-user librapidcheck-dev:arm64 libpcre2-dev:arm64 libssl-dev:arm64
      cmake -S . -B build/neon -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
        -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_LIBRARY_ARCHITECTURE=aarch64-linux-gnu \
        -DCMAKE_CROSSCOMPILING_EMULATOR="qemu-aarch64;-L;/usr/aarch64-linux-gnu" -DQLORA_ARCH=armv8-a+crypto \
        -DOPENSSL_CRYPTO_LIBRARY=/usr/lib/aarch64-linux-gnu/libcrypto.so -DQLORA_CUDA=OFF \
        -DRAPIDCHECK_LIBRARY=/usr/lib/aarch64-linux-gnu/librapidcheck.a -DPCRE2_LIBRARY=/usr/lib/aarch64-linux-gnu/libpcre2-8.so \
        -DQLORA_BUILD_EXAMPLES=OFF -DQLORA_BUILD_BENCH=OFF -DQLORA_TEST_FOLDERS="quant;linalg" \
        -DCMAKE_CXX_FLAGS_RELWITHDEBINFO="-O1 -g1" >build/neon-configure.log
      cmake --build build/neon
      for folder in quant linalg; do
        QLORA_LAW_MS=${QLORA_LAW_MS:-200} qemu-aarch64 -L /usr/aarch64-linux-gnu build/neon/tests/test_$folder
      done
      ;;
    formats)
      build_and_test v3-all "quant;linalg;memory;nn;optim"
      build_and_test plain-all "quant;linalg;nn;optim"
      ;;
    sanitize)
      build_and_test asan-all "core;codebook;quant;linalg;memory;nn;optim;io;text;model;train;eval;tournament"
      build_and_test tsan "core;memory;optim;linalg"
      build_and_test valgrind "memory"
      step "paged memory under valgrind"
      QLORA_LAW_MS=200 valgrind -q --error-exitcode=9 --fair-sched=yes --leak-check=full --show-leak-kinds=definite \
        --errors-for-leak-kinds=definite build/valgrind/tests/test_memory '~"resident memory stays below*"~[fork]'
      ;;
    bits)
      step "the same bits from more compilers and flags"
      python3 tests/consumer/same_bits.py all . g++ /usr/include/eigen3
      ;;
    cuda)
      step "every format's kernels for every architecture, and the tests for a device"
      python3 tests/cuda/matrix.py include
      python3 tests/cuda/sass_test.py tests/cuda/kernels.cu include 80 90 100 120
      python3 tests/cuda/compile.py tests/cuda/device_functions.cu include 80 90 100 120
      python3 tests/cuda/compile.py tests/cuda/named_formats.cu include 80 90 100 120
      cmake -S . -B build/gpu -G Ninja -DCMAKE_BUILD_TYPE=Release -DQLORA_GPU_TESTS=ON -DQLORA_BUILD_EXAMPLES=OFF \
        -DQLORA_TEST_FOLDERS=cuda -DCMAKE_CUDA_ARCHITECTURES=90 >build/gpu-configure.log
      cmake --build build/gpu --target test_gpu bench_gpu
      ctest --test-dir build/gpu --output-on-failure -R "^gpu:"
      ;;
    models)
      step "real models of other families"
      build_release
      peers=build/peers/venv
      [ -x "$peers/bin/pip" ] || python3 -m venv "$peers"
      "$peers/bin/pip" install --quiet --disable-pip-version-check torch transformers gguf accelerate
      mkdir -p build/models
      "$peers/bin/python" tests/real_models.py build/examples build/models "$jargon"
      ;;
    templates)
      step "seventy chat templates as Python's jinja2 renders them"
      build_release
      cmake --build build --target render_templates encode_texts
      [ -x "$data/venv/bin/pip" ] || python3 -m venv "$data/venv"
      # The metadata of a source distribution needs its build system; nothing of it is built.
      "$data/venv/bin/pip" install --quiet --disable-pip-version-check jinja2==3.1.6 scikit-build-core==1.1.2
      "$data/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: --no-build-isolation \
        --dest "$data" llama-cpp-python==0.3.36
      "$data/venv/bin/python" tests/golden/templates.py "$data/llama_cpp_python-0.3.36.tar.gz" build/tests/render_templates
      step "the vocabularies in the same sources: ids as llama.cpp has them"
      "$data/venv/bin/python" tests/golden/vocabularies.py "$data/llama_cpp_python-0.3.36.tar.gz" build/tests/encode_texts
      ;;
    *)
      echo "expected clang, tidy, headers, laws, curve, neon, formats, sanitize, bits, cuda, models or templates, found $part" >&2
      exit 2
      ;;
  esac
done
step "done"
