#!/usr/bin/env python3
"""A training step of torch + PEFT + bitsandbytes on the model and tokens of bench/train/step.cpp: NF4 with double
quantization, LoRA of rank 16 on all projections, 2 x 256 tokens. Prints the median tokens/s and the peak memory.

    train_step.py MODEL.gguf [--steps 12] [--compute float32|bfloat16] [--grad-checkpoint]
"""
import argparse
import pathlib
import resource
import statistics
import time

import bitsandbytes as bnb
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

parser = argparse.ArgumentParser()
parser.add_argument("model", type=pathlib.Path)
parser.add_argument("--steps", type=int, default=12)
parser.add_argument("--compute", default="float32", choices=["float32", "bfloat16"])
parser.add_argument("--grad-checkpoint", action="store_true")
options = parser.parse_args()
dtype = getattr(torch, options.compute)

model = AutoModelForCausalLM.from_pretrained(str(options.model.parent), gguf_file=options.model.name, dtype=dtype)
for block in model.model.layers:
    for part in (block.self_attn, block.mlp):
        for name, linear in list(part.named_children()):
            if isinstance(linear, torch.nn.Linear):
                packed = bnb.nn.Linear4bit(linear.in_features, linear.out_features, bias=False, compute_dtype=dtype,
                                           compress_statistics=True, quant_type="nf4")
                packed.weight = bnb.nn.Params4bit(linear.weight.data, requires_grad=False, quant_type="nf4", blocksize=64,
                                                  compress_statistics=True)
                setattr(part, name, packed.to("cpu"))
if options.grad_checkpoint:
    model.gradient_checkpointing_enable()
    model.enable_input_require_grads()
model = get_peft_model(model, LoraConfig(r=16, lora_alpha=16, lora_dropout=0.0, target_modules=[
    "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]))
model.train()
parameters = [p for p in model.parameters() if p.requires_grad]
optimizer = torch.optim.AdamW(parameters, lr=2e-4, weight_decay=0.0)
ids = torch.randint(0, 40000, (2, 256), generator=torch.Generator().manual_seed(0))
rates = []
for step in range(options.steps + 2):
    start = time.perf_counter()
    optimizer.zero_grad()
    model(input_ids=ids, labels=ids).loss.backward()
    torch.nn.utils.clip_grad_norm_(parameters, 0.3)
    optimizer.step()
    if step >= 2:
        rates.append(ids.numel() / (time.perf_counter() - start))
print(f"torch + PEFT + bitsandbytes, threads {torch.get_num_threads()}, 2 x 256 tokens, {options.compute}"
      f"{', gradient checkpointing' if options.grad_checkpoint else ''}: median {statistics.median(rates):.1f} tokens/s, "
      f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MiB")
