#!/usr/bin/env python3
"""Prompt and generation speed of llama.cpp (the wheel xllamacpp) on a GGUF file, as its server measures them: the best of
several rounds, one sequence, beside build/bench/bench_generate.

    llama_cpp.py MODEL.gguf [--threads 2] [--prompt 512] [--generated 128] [--rounds 5]
"""
import argparse
import random

import xllamacpp

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--prompt", type=int, default=512)
parser.add_argument("--generated", type=int, default=128)
parser.add_argument("--rounds", type=int, default=5)
options = parser.parse_args()

params = xllamacpp.CommonParams()
params.model.path = options.model
params.n_ctx = options.prompt + options.generated + 64
params.n_gpu_layers = 0
params.cpuparams.n_threads = options.threads
params.cpuparams_batch.n_threads = options.threads
server = xllamacpp.Server(params)
random.seed(1)
ids = [random.randrange(40000) for _ in range(options.prompt)]
prompt, generated = 0.0, 0.0
for _ in range(options.rounds):
    answer = server.handle_completions({"prompt": ids, "n_predict": options.generated, "temperature": 0.0, "cache_prompt": False,
                                        "ignore_eos": True})
    prompt = max(prompt, answer["timings"]["prompt_per_second"])
    generated = max(generated, answer["timings"]["predicted_per_second"])
print(f"llama.cpp, threads {options.threads}: prompt of {options.prompt} {prompt:.1f} tokens/s, generation {generated:.1f} tokens/s")
