#!/usr/bin/env bash
# This library beside torch, OpenBLAS, oneDNN, Eigen, bitsandbytes and llama.cpp, in turn on the same products, codes, training
# step and model; builds first, and sets up the peers' own virtual environment (several GB) the first time. Writes the tables
# into docs/results.md, between its two lines that say "peers".
#
#   bash bench/peers/run.sh [ROUNDS]
set -euo pipefail
cd "$(dirname "$0")/../.."
mkdir -p build
source scripts/setup.sh
install_packages "${build_packages[@]}" libbenchmark-dev libdnnl-dev
fetch_model
build_release -DQLORA_BUILD_BENCH=ON
peers=build/data/peers
rounds=${1:-3}
if [ ! -f "$peers/ready" ]; then
  step "install torch, transformers, PEFT, bitsandbytes, llama.cpp from PyPI"
  python3 -m venv "$peers"
  "$peers/bin/pip" install --quiet --disable-pip-version-check torch transformers peft bitsandbytes gguf accelerate xllamacpp
  touch "$peers/ready"
fi
g++ -O3 -std=c++20 bench/peers/onednn.cpp -ldnnl -o build/bench/onednn
tables=build/bench/peers.md
{
  echo "\`bash bench/peers/run.sh $rounds\` on $(sed -n 's/^model name.*: //p;T;q' /proc/cpuinfo) with $(grep -o -m1 -w -E 'avx512_bf16|avx512f|avx2' \
    /proc/cpuinfo | tail -1), $(nproc) cores, $(date +%Y-%m-%d); $("$peers/bin/pip" list 2>/dev/null |
    awk '/^(torch|peft|bitsandbytes|transformers|xllamacpp|numpy) /{printf "%s %s, ", $1, $2}')oneDNN $(dpkg-query -W -f '${Version}' libdnnl-dev)."
} >"$tables"
for threads in 1 2; do
  step "products and codes on $threads thread(s), in turn"
  { printf '\n### Products and codes, %s thread(s)\n\n' "$threads"
    "$peers/bin/python" bench/peers/compare.py "$peers/bin/python" build/bench/onednn --threads "$threads" --rounds "$rounds"; } >>"$tables"
done
step "optimizers, in turn"
{ printf '\n### A step of 16 million numbers, one thread\n\n'
  "$peers/bin/python" bench/peers/optimizers.py build/bench/bench_optim; } >>"$tables"
step "training step, in turn"
printf '\n### A training step, and reading and generating\n\n```\n' >>"$tables"
for _ in $(seq "$rounds"); do
  for compute in float32 bfloat16; do
    for checkpoint in "" --grad-checkpoint; do
      build/bench/bench_train_step --model "$model" --steps 6 --compute $compute $checkpoint
      "$peers/bin/python" bench/peers/train_step.py "$model" --steps 4 --compute $compute $checkpoint 2>/dev/null
    done
  done
  build/bench/bench_generate --model "$model"
  build/bench/bench_generate --model "$model" --compute auto
  "$peers/bin/python" bench/peers/llama_cpp.py "$model" 2>/dev/null
done | sort | tee -a "$tables"
printf '```\n' >>"$tables"
python3 - "$tables" <<'END'
import pathlib, sys
results = pathlib.Path("docs/results.md")
before, rest = results.read_text().split("<!-- peers: written by bench/peers/run.sh -->\n")
_, after = rest.split("<!-- end of peers -->\n")
results.write_text(before + "<!-- peers: written by bench/peers/run.sh -->\n" + pathlib.Path(sys.argv[1]).read_text()
                   + "<!-- end of peers -->\n" + after)
END
step "written to docs/results.md"
