#!/usr/bin/env bash
# Runs on a machine with a GPU and no network what scripts/gpu_bundle.sh packed: every test of the kernels on the device, a checker of
# memory and races, timings of the kernels and of a training step, and what others reach on the same card.
#
#   bash scripts/gpu_check.sh [SECONDS]      # for all of it, 360 by default; results go to $OUT, or build/gpu
#
# Phases run by worth until the time is up; those left are named as not run. results.jsonl and summary.md are complete whatever fails.
# PEERS=no leaves the others' measurements out. Ends with 1 if a phase failed. A phase that skips or runs no test has failed.
set -u
cd "$(dirname "$0")/.."
deadline=$((SECONDS + ${1:-360}))
out=${OUT:-build/gpu}
mkdir -p "$out"
bin=${QLORA_DEVICE_PROGRAMS:-.device/bin}
lines=$out/results.jsonl
log=$out/log.txt
: >"$lines"
: >"$log"
failed=0
export QLORA_LAW_MS=${QLORA_LAW_MS:-100}
own_libraries=$PWD/.device/lib
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
[ -f .device/bitsandbytes.tar.gz ] && tar -xzf .device/bitsandbytes.tar.gz -C "$packages"

# phase NAME SECONDS COMMAND...: within its own limit and the deadline, whichever is first.
phase() {
  local name=$1 limit=$2 start=$SECONDS code
  shift 2
  if [ $((deadline - SECONDS)) -lt 5 ]; then
    echo "{\"phase\": \"$name\", \"outcome\": \"not run\"}" >>"$lines"
    echo "$name: not run, the time is up"
    return
  fi
  [ "$limit" -gt $((deadline - SECONDS)) ] && limit=$((deadline - SECONDS))
  printf '\n== %s\n' "$name" >>"$log"
  # The system's libraries come first, the carried ones only for what it lacks.
  timeout -k 5 "$limit" env LD_LIBRARY_PATH="${LD_LIBRARY_PATH:+$LD_LIBRARY_PATH:}/usr/lib/x86_64-linux-gnu:$own_libraries" "$@" >"$out/last.txt" 2>&1
  code=$?
  cat "$out/last.txt" >>"$log"
  local outcome=passed
  if [ $code -eq 124 ]; then outcome="over its $limit s"; elif [ $code -ne 0 ]; then outcome="failed with $code"; fi
  if grep -qE '^skipped|No tests ran|No test cases matched' "$out/last.txt"; then outcome="ran nothing"; fi
  [ "$outcome" = passed ] || failed=1
  echo "{\"phase\": \"$name\", \"outcome\": \"$outcome\", \"seconds\": $((SECONDS - start))}" >>"$lines"
  echo "$name: $outcome, $((SECONDS - start)) s"
  [ "$outcome" = passed ] || tail -n 15 "$out/last.txt"
}
python_phase() {
  [ "${PEERS:-yes}" = yes ] || return 0
  local name=$1 limit=$2
  shift 2
  phase "$name" "$limit" env -u LD_LIBRARY_PATH PYTHONPATH="$packages" PYTHONUNBUFFERED=1 python3 "$@"
}

nvidia-smi --query-gpu=name,driver_version,clocks.sm,clocks.max.sm,power.limit,memory.total --format=csv >>"$log" 2>&1
# Programs that are not there or do not start here are built here, from the headers that were packed.
starts() { [ -x "$1" ] && { LD_LIBRARY_PATH=$own_libraries "$1" --help >/dev/null 2>&1 || [ $? -ne 127 ]; }; }
if ! starts "$bin/test_gpu" || ! starts "$bin/bench_gpu"; then
  usr=$packages/usr
  mkdir -p "$usr" build/there
  tar -xzf .device/usr.tar.gz -C "$usr"
  phase "build here" 200 bash -c "cmake -S . -B build/there -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CUDA_ARCHITECTURES=native \
    -DQLORA_NO_URING=ON -DQLORA_GPU_TESTS=ON -DQLORA_TEST_FOLDERS=cuda -DQLORA_BUILD_EXAMPLES=OFF -DCMAKE_CUDA_FLAGS=-lineinfo \
    -DCMAKE_PREFIX_PATH=$usr -DCatch2_DIR=$usr/lib/cmake/Catch2 -DEigen3_DIR=$usr/share/eigen3/cmake -DRAPIDCHECK_INCLUDE_DIR=$usr/include \
    -DRAPIDCHECK_LIBRARY=$usr/lib/librapidcheck.a && cmake --build build/there --target test_gpu bench_gpu bench_gpu_step"
  mkdir -p build/there/bin
  cp build/there/tests/gpu/test_gpu build/there/bench/bench_gpu build/there/bench/bench_gpu_step build/there/bin/ || exit 1
  bin=build/there/bin
fi
phase attributes 20 "$bin/bench_gpu" --attributes --json "$lines"
# Each file's tests are a process of their own, since an illegal access ends its context.
for file in tests/cuda/*_test.cpp tests/model/device_*_test.cpp; do
  name=$(basename "$file" .cpp)
  case $name in executor_test | quantize_test | dequantize_test) continue ;; esac # the executor's own
  phase "tests: $name" 60 "$bin/test_gpu" -# "[#$name]"
done
phase kernels 60 "$bin/bench_gpu" --json "$lines"
phase "step: llama-7b" 90 "$bin/bench_gpu_step" --shape llama-7b --tokens 2048 --rank 64 --json "$lines"
python_phase "peers: kernels" 70 bench/gpu/peers.py --json "$lines"
python_phase "peers: llama-7b step" 90 bench/gpu/peers.py --json "$lines" --step llama-7b --tokens 2048 --rank 64
phase memcheck 60 compute-sanitizer --error-exitcode 9 "$bin/bench_gpu" --small
phase racecheck 60 compute-sanitizer --tool racecheck --error-exitcode 9 "$bin/bench_gpu" --small
phase synccheck 40 compute-sanitizer --tool synccheck --error-exitcode 9 "$bin/bench_gpu" --small
python_phase "peers: llama-7b step with checkpointing" 60 bench/gpu/peers.py --json "$lines" --step llama-7b --checkpoint
phase "step: smollm2-135m" 30 "$bin/bench_gpu_step" --shape smollm2-135m --tokens 2048 --rank 16 --json "$lines"
python_phase "peers: smollm2-135m step" 60 bench/gpu/peers.py --json "$lines" --step smollm2-135m --tokens 2048 --rank 16
for program in custom_kernel cuda_quantize; do phase "$program" 20 "$bin/$program"; done
python3 bench/gpu/report.py "$lines" >"$out/summary.md" || failed=1
cat "$out/summary.md"
exit $failed
