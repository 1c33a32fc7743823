#!/usr/bin/env python3
"""Packed weights written by `quantize` load in bitsandbytes and decode there to the values that this library decodes them to.

    venv/bin/python tests/golden/check_prequantized.py build/examples/quantize MODEL.gguf > tests/golden/prequantized.txt

Needs torch, bitsandbytes and safetensors; run by hand, never in CI.
"""
import collections
import importlib.metadata
import pathlib
import subprocess
import sys
import tempfile

import bitsandbytes as bnb
import torch
from safetensors import safe_open

program, model = sys.argv[1:]
print("bitsandbytes", importlib.metadata.version("bitsandbytes"), "torch", importlib.metadata.version("torch"))
for form, block_size in (("nf4", 64), ("nf4", 4096), ("nf4-dq", 64), ("nf4-dq", 128), ("fp4", 64), ("fp4-dq", 64), ("fp4-dq", 256)):
    with tempfile.TemporaryDirectory() as folder:
        packed, floats = pathlib.Path(folder) / "packed.safetensors", pathlib.Path(folder) / "floats.safetensors"
        subprocess.run([program, model, packed, "--format", form, "--block-size", str(block_size)], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([program, packed, floats, "--format", "float"], check=True, stdout=subprocess.DEVNULL)
        with safe_open(packed, "pt") as a, safe_open(floats, "pt") as b:
            parts = collections.defaultdict(dict)
            for name in a.keys():
                weight, _, part = name.partition(".weight.")
                if part:
                    parts[weight + ".weight"][part] = a.get_tensor(name)
            equal = different = 0
            for weight, state in parts.items():
                loaded = bnb.nn.Params4bit.from_prequantized(a.get_tensor(weight), state, device="cpu")
                decoded = bnb.functional.dequantize_4bit(loaded.data, loaded.quant_state)
                same = torch.equal(decoded, b.get_tensor(weight))
                equal, different = equal + same, different + (not same)
            print(f"{form} blocks of {block_size}: {equal} weights decode to the same values, {different} do not")
