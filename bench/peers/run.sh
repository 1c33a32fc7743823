#!/usr/bin/env bash
# This library beside torch, OpenBLAS, Eigen and bitsandbytes, in turn on the same products, codes and training step; builds first, and sets up the peers' own
# virtual environment (several GB) the first time.
#
#   bash bench/peers/run.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p build
source scripts/setup.sh
install_packages "${build_packages[@]}" libbenchmark-dev
fetch_model
build_release -DQLORA_BUILD_BENCH=ON
peers=build/data/peers
if [ ! -f "$peers/ready" ]; then
  step "install torch, transformers, PEFT, bitsandbytes from PyPI"
  python3 -m venv "$peers"
  "$peers/bin/pip" install --quiet --disable-pip-version-check torch transformers peft bitsandbytes gguf accelerate
  touch "$peers/ready"
fi
for threads in 1 2; do
  step "products and codes on $threads thread(s), in turn"
  "$peers/bin/python" bench/peers/compare.py "$peers/bin/python" --threads "$threads" --rounds "${1:-3}"
done
step "training step, in turn"
grep -m1 "model name" /proc/cpuinfo
for _ in $(seq "${1:-3}"); do
  for checkpoint in "" --grad-checkpoint; do
    build/bench/bench_train_step --model "$model" --steps 6 $checkpoint
    "$peers/bin/python" bench/peers/train_step.py "$model" --steps 4 $checkpoint 2>/dev/null
  done
done
