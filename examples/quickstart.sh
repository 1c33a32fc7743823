#!/usr/bin/env bash
# The main job from a fresh clone in one command: installs what is needed, builds, fine-tunes a real 135-million-parameter
# Llama in NF4 with double quantization on the Jargon File, and lets the base and the tuned model answer the same questions.
#
#   bash examples/quickstart.sh
#
# A second run downloads and builds nothing; it trains again.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p build
source scripts/setup.sh
out=out/quickstart

install_packages "${build_packages[@]}"
fetch_model
fetch_jargon
build_release -DQLORA_BUILD_TESTS=OFF -DQLORA_BUILD_BENCH=OFF

step "make questions and answers of the Jargon File"
python3 examples/programs/support/jargon_pairs.py "$jargon" "$data/pairs"

step "fine-tune in 4 bits"
build/examples/finetune --model "$model" --data "$data/pairs/train.jsonl" --eval-data "$data/pairs/held_out.jsonl" \
  --output "$out" --overwrite --format nf4-dq --steps 60 --batch 4 --seq-len 192 --lr 1e-3 --schedule cosine --warmup-steps 5 --seed 1

for term in "bit bucket" vaporware wizard; do
  question="What does *$term* mean in hacker jargon?"
  step "$question"
  echo "-- the base model in 4 bits:"
  build/examples/chat --model "$model" --format nf4-dq --prompt "$question" --max-tokens 80
  echo "-- the tuned model:"
  build/examples/chat --model "$model" --adapter "$out" --prompt "$question" --max-tokens 80
done

step "done"
cat <<END
The adapter (PEFT's layout), metrics.csv and the picture loss.png are in $out. Go on with

  build/examples/chat --model $model --adapter $out
END
