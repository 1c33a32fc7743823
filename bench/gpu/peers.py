"""What others reach on the same card: torch's dense bfloat16, bitsandbytes' 4-bit kernels, scaled_dot_product_attention, and a QLoRA step of
transformers + PEFT + bitsandbytes with random weights. Each result is a JSON line with its name, so that report.py can put it
beside ours.

    peers.py --json FILE [--step llama-7b|smollm2-135m] [--tokens 2048] [--rank 64] [--checkpoint]
"""
import argparse
import json
import time

import torch
import torch.nn.functional as F


def add(path, **result):
    print(result, flush=True)
    with open(path, "a") as file:
        file.write(json.dumps(result) + "\n")


def microseconds(launch, rounds=5, launches=20, graph=True):
    """The median over rounds of the mean time of a launch; launch(i) may take another input each time. The launches are recorded in a
    graph unless they can't be, so that Python's own time per call is not measured."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for i in range(3):
            launch(i)
    torch.cuda.current_stream().wait_stream(side)
    torch.cuda.synchronize()
    if graph:
        recorded = torch.cuda.CUDAGraph()
        with torch.cuda.graph(recorded):
            for i in range(launches):
                launch(i)
        run = recorded.replay
    else:
        def run():
            for i in range(launches):
                launch(i)
    times = []
    for round in range(-1, rounds):
        start, stop = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        run()
        stop.record()
        stop.synchronize()
        if round >= 0:
            times.append(1000 * start.elapsed_time(stop) / launches)
    return sorted(times)[rounds // 2]


def kernels(path):
    import bitsandbytes as bnb
    from bitsandbytes.functional import dequantize_4bit, quantize_4bit

    add(path, device=torch.cuda.get_device_name(), torch=torch.__version__, bitsandbytes=bnb.__version__)
    big = torch.empty(1 << 30, dtype=torch.uint8, device="cuda")
    other = torch.empty_like(big)
    us = microseconds(lambda i: other.copy_(big), graph=False)
    add(path, peer="torch", kernel="copy", case="1024 MiB", us=us, bytes=2 * big.numel(), flops=0)
    del big, other
    for rows, cols in ((11008, 4096), (4096, 4096), (1536, 576)):
        size = rows * cols
        turns = max(1, int(256e6 / (size * 0.52)) + 1)
        dense = torch.randn(rows, cols, device="cuda", dtype=torch.bfloat16) * 0.02
        packed = [quantize_4bit(dense, blocksize=64, quant_type="nf4", compress_statistics=True) for _ in range(turns)]
        name = f"nf4-dq {rows}x{cols}"
        us = microseconds(lambda i: dequantize_4bit(*packed[i % turns]))
        add(path, peer="bitsandbytes", kernel="dequantize", case=name, us=us, bytes=size * 2.516, flops=0)
        for tokens in (1, 8, 16, 64, 256, 2048):
            x = torch.randn(tokens, cols, device="cuda", dtype=torch.bfloat16)
            dy = torch.randn(tokens, rows, device="cuda", dtype=torch.bfloat16)
            flops = 2 * size * tokens
            case = f"{name}, {tokens} tokens"
            us = microseconds(lambda i: bnb.matmul_4bit(x, packed[i % turns][0].t(), quant_state=packed[i % turns][1]))
            add(path, peer="bitsandbytes", kernel="gemv" if tokens <= 8 else "forward product", case=case, us=us, bytes=0, flops=flops)
            if tokens > 8:
                us = microseconds(lambda i: dy @ dequantize_4bit(*packed[i % turns]).to(dy.dtype))
                add(path, peer="bitsandbytes", kernel="backward product", case=case, us=us, bytes=0, flops=flops)
            copies = [dense.clone() for _ in range(max(1, int(256e6 / (2 * size)) + 1))]
            us = microseconds(lambda i: F.linear(x, copies[i % len(copies)]))
            add(path, peer="torch bfloat16", kernel="gemv" if tokens <= 8 else "forward product", case=case, us=us, bytes=0, flops=flops)
            if tokens > 8:
                us = microseconds(lambda i: dy @ copies[i % len(copies)])
                add(path, peer="torch bfloat16", kernel="backward product", case=case, us=us, bytes=0, flops=flops)
            del copies
    for heads, kv_heads, width, tokens in ((32, 32, 128, 2048), (9, 3, 64, 2048)):
        q = torch.randn(1, heads, tokens, width, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        k = torch.randn(1, kv_heads, tokens, width, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        v = torch.randn(1, kv_heads, tokens, width, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        attend = lambda: F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=heads != kv_heads)
        case, product = f"{heads} heads of {width}, {tokens} tokens", tokens * tokens * heads * width
        us = microseconds(lambda i: attend())
        add(path, peer="torch sdpa", kernel="attention forward", case=case, us=us, bytes=0, flops=2 * product)
        out = attend()
        dout = torch.randn_like(out)
        us = microseconds(lambda i: torch.autograd.grad(out, (q, k, v), dout, retain_graph=True), graph=False)
        add(path, peer="torch sdpa", kernel="attention backward", case=case, us=us, bytes=0, flops=5 * product)


SHAPES = {"llama-7b": dict(vocab_size=32000, hidden_size=4096, intermediate_size=11008, num_hidden_layers=32,
                           num_attention_heads=32, num_key_value_heads=32),
          "smollm2-135m": dict(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
                               num_attention_heads=9, num_key_value_heads=3)}


def step(path, name, tokens, rank, checkpoint, steps=5):
    import bitsandbytes as bnb
    import peft
    import transformers

    torch.set_default_dtype(torch.bfloat16)
    config = transformers.LlamaConfig(**SHAPES[name], max_position_embeddings=tokens, attn_implementation="sdpa")
    with torch.device("meta"):
        model = transformers.LlamaForCausalLM(config)
    # One random matrix for each shape, quantized anew for each layer, so that no more than one is held in full.
    made = {}
    for parent in list(model.modules()):
        for child_name, child in list(parent.named_children()):
            if isinstance(child, torch.nn.Linear) and child_name != "lm_head":
                shape = (child.out_features, child.in_features)
                if shape not in made:
                    made[shape] = torch.randn(*shape, device="cuda", dtype=torch.bfloat16) * 0.02
                new = bnb.nn.Linear4bit(child.in_features, child.out_features, bias=False, compute_dtype=torch.bfloat16,
                                        compress_statistics=True, quant_type="nf4", device="meta")
                new.weight = bnb.nn.Params4bit(made[shape].clone(), requires_grad=False, compress_statistics=True,
                                               quant_type="nf4", module=new).to("cuda")
                setattr(parent, child_name, new)
    made.clear()
    for module in model.modules():
        for parameter_name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.device.type == "meta":
                value = torch.ones(parameter.shape, device="cuda", dtype=torch.bfloat16)
                if parameter.dim() > 1:
                    value.normal_(0, 0.02)
                setattr(module, parameter_name, torch.nn.Parameter(value, requires_grad=False))
    model.model.rotary_emb = type(model.model.rotary_emb)(config, device="cuda")
    model.tie_weights()
    torch.set_default_dtype(torch.float32)
    if checkpoint:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
        model.enable_input_require_grads()
    model.is_loaded_in_4bit = True
    model = peft.get_peft_model(model, peft.LoraConfig(
        r=rank, lora_alpha=rank, target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]))
    model.train()
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, lr=1e-4, fused=True)
    ids = torch.randint(0, config.vocab_size, (1, tokens), device="cuda")
    torch.cuda.reset_peak_memory_stats()
    times = []
    for i in range(steps + 2):
        torch.cuda.synchronize()
        start = time.perf_counter()
        with torch.autocast("cuda", torch.bfloat16):
            loss = model(input_ids=ids, labels=ids, use_cache=False).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()
        if i >= 2:
            times.append(time.perf_counter() - start)
    seconds = sorted(times)[len(times) // 2]
    add(path, peer="transformers + PEFT + bitsandbytes", step=name, tokens=tokens, rank=rank, checkpoint=checkpoint,
        loss=float(loss), step_ms=1000 * seconds, tokens_per_s=tokens / seconds,
        trained=sum(p.numel() for p in trained), adapter_dtype=str(trained[0].dtype),
        peak_gib=torch.cuda.max_memory_allocated() / 2**30,
        versions=f"torch {torch.__version__}, transformers {transformers.__version__}, PEFT {peft.__version__}, "
                 f"bitsandbytes {bnb.__version__}")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--json", required=True)
    parser.add_argument("--step", choices=SHAPES)
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--rank", type=int, default=64)
    parser.add_argument("--checkpoint", action="store_true")
    given = parser.parse_args()
    if not torch.cuda.is_available():
        print("skipped: no CUDA device")
    elif given.step:
        step(given.json, given.step, given.tokens, given.rank, given.checkpoint)
    else:
        kernels(given.json)


main()
