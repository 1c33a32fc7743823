#!/usr/bin/env bash
# Puts into .device/ (ignored by git) what scripts/gpu_check.sh needs on a machine with a GPU and no network: the tests and timings
# built here for the given devices, and bitsandbytes with the one library that is used there. Needs nvcc, a network, and no GPU.
#
#   bash scripts/gpu_bundle.sh [ARCHITECTURES, as in CMAKE_CUDA_ARCHITECTURES: 90-real]
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/setup.sh
architectures=${1:-90-real}
out=.device
mkdir -p build
install_packages "${build_packages[@]}" catch2 librapidcheck-dev
command -v nvcc >/dev/null || { echo "gpu_bundle: expected nvcc on PATH, found none" >&2; exit 1; }

step "build for $architectures"
cmake -S . -B build/device -G Ninja -DCMAKE_BUILD_TYPE=Release "-DCMAKE_CUDA_ARCHITECTURES=$architectures" -DQLORA_ARCH=x86-64-v3 \
  -DQLORA_NO_URING=ON -DQLORA_GPU_TESTS=ON -DQLORA_TEST_FOLDERS=cuda -DQLORA_BUILD_EXAMPLES=ON "-DCMAKE_CUDA_FLAGS=-lineinfo" \
  "-DCMAKE_EXE_LINKER_FLAGS=-static-libstdc++ -static-libgcc" >build/device-configure.log
programs=(tests/gpu/test_gpu bench/bench_gpu bench/bench_gpu_step examples/custom_kernel examples/cuda_quantize)
cmake --build build/device --target test_gpu bench_gpu bench_gpu_step custom_kernel cuda_quantize

step "pack $out"
rm -rf "$out"
mkdir -p "$out/bin" "$out/lib"
for program in "${programs[@]}"; do
  strip --strip-debug -o "$out/bin/${program##*/}" "build/device/$program"
done
# Libraries that a bare system may lack. They come after the system's own.
for program in "$out"/bin/*; do
  { ldd "$program" | awk '/libgomp|libpcre2|libcrypto/ && $3 ~ /^\// {print $3}' || true; } | xargs -r -I{} cp -nL {} "$out/lib/"
done

# Headers for a build there, should these programs not start.
usr=$(mktemp -d)
mkdir -p "$usr"/{include,lib/cmake,share}
cp -r /usr/include/{catch2,rapidcheck,rapidcheck.h} "$usr/include/"
mkdir "$usr/include/eigen3" && cp -r /usr/include/eigen3/{Eigen,signature_of_eigen3_matrix_library} "$usr/include/eigen3/"
cp -r /usr/lib/cmake/Catch2 "$usr/lib/cmake/"
cp -r /usr/share/eigen3 "$usr/share/"
cp /usr/lib/libCatch2WithMain.a /usr/lib/x86_64-linux-gnu/librapidcheck.a "$usr/lib/"
tar -czf "$out/usr.tar.gz" -C "$usr" .
rm -rf "$usr"

# bitsandbytes 0.50.2 with the library for CUDA 13: 4 MB of 43.
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ -x build/data/venv/bin/pip ] || { mkdir -p build/data && python3 -m venv build/data/venv; }
build/data/venv/bin/pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.12 \
  --implementation cp --platform manylinux_2_24_x86_64 --dest "$work" bitsandbytes==0.50.2
unzip -q "$work"/bitsandbytes-*.whl 'bitsandbytes/*.py' 'bitsandbytes/libbitsandbytes_cuda130.so' 'bitsandbytes-*.dist-info/*' -d "$work/site"
tar -czf "$out/bitsandbytes.tar.gz" -C "$work/site" .

size=$(du -sm "$out" | cut -f1)
echo "$out: $size MiB"
[ "$size" -lt 48 ] || { echo "gpu_bundle: expected less than 48 MiB" >&2; exit 1; }
