"""Logits, losses and adapter gradients of tiny models of every family, by transformers in float32; their weights are made from names.

    python3 -m venv venv && venv/bin/pip install torch transformers sentencepiece scikit-build-core
    venv/bin/pip download --no-deps --no-binary :all: --no-build-isolation llama-cpp-python==0.3.36 && tar xzf llama_cpp_python-0.3.36.tar.gz
    venv/bin/python tests/golden/make_families.py llama_cpp_python-0.3.36/vendor/llama.cpp > tests/golden/families.json

Where GGUF can carry a model, llama.cpp's own converter writes it; its keys, and each tensor's shape and SHA-256, stand here too,
and the numbers of rope_freqs.

Every weight is a function of its name and place (`numbers`), so that the file holds shapes and results only. Sizes are chosen so that
each part of a configuration matters: windows are shorter than the text, the text is longer than the original context of a scaled
rotary embedding, caps are small.
"""
import contextlib
import hashlib
import json
import pathlib
import sys
import tempfile

import numpy
import torch
import transformers

sys.path[1:1] = [sys.argv[1], sys.argv[1] + "/gguf-py"]
import conversion
import gguf

SIZES = {"vocab_size": 48, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 4, "num_attention_heads": 4,
         "num_key_value_heads": 2, "max_position_embeddings": 64, "bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
LENGTH, RANK, SCALING = 24, 2, 1.5
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "rope_theta": 10000.0}
LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 16, "rope_theta": 500.0}
CASES = {
    "llama": ("llama", {"tie_word_embeddings": True}),
    "llama 3": ("llama", {"rope_parameters": LLAMA3}),
    "llama, linear": ("llama", {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 10000.0}}),
    "llama, yarn": ("llama", {"rope_parameters": YARN, "head_dim": 16}),
    "llama, biases": ("llama", {"attention_bias": True, "mlp_bias": True}),
    "mistral": ("mistral", {"sliding_window": 7, "head_dim": 16}),
    "qwen2": ("qwen2", {"tie_word_embeddings": True}),
    "qwen2, upper windows": ("qwen2", {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 2}),
    "qwen3": ("qwen3", {"head_dim": 16}),
    "gemma2": ("gemma2", {"head_dim": 16, "query_pre_attn_scalar": 9, "sliding_window": 6, "attn_logit_softcapping": 1.5,
                          "final_logit_softcapping": 2.0}),
    "gemma3": ("gemma3_text", {"head_dim": 16, "query_pre_attn_scalar": 9, "sliding_window": 6,
                               "layer_types": ["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
                               "rope_parameters": {"full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 100000.0},
                                                   "sliding_attention": {"rope_type": "default", "rope_theta": 1000.0}}}),
    "gemma2, as GGUF has it": ("gemma2", {"head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 6,
                                          "attn_logit_softcapping": 1.5, "final_logit_softcapping": 2.0}),
    "gemma3, as GGUF has it": ("gemma3_text", {"num_hidden_layers": 7, "head_dim": 16, "query_pre_attn_scalar": 16, "sliding_window": 6,
                                               "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 1000000.0},
                                                                   "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}}}),
    "olmo2": ("olmo2", {}),
    "granite": ("granite", {"embedding_multiplier": 3.0, "residual_multiplier": 0.4, "attention_multiplier": 0.8, "logits_scaling": 0.5,
                            "tie_word_embeddings": True}),
    "smollm3": ("smollm3", {"no_rope_layer_interval": 2}),
    "smollm3, as GGUF has it": ("smollm3", {}),
}
# What GGUF has no place for, or llama.cpp's code has other numbers for.
NO_GGUF = {"qwen2, upper windows", "gemma2", "gemma3", "smollm3", "mistral"}


def numbers(name, count):
    """`count` numbers in [-1, 1), multiples of 2^-23: splitmix64 from the FNV-1a hash of the name on."""
    seed = 14695981039346656037
    for byte in name.encode():
        seed = (seed ^ byte) * 1099511628211 % 2**64
    with numpy.errstate(over="ignore"):
        z = numpy.uint64(seed) + numpy.uint64(0x9E3779B97F4A7C15) * numpy.arange(1, count + 1, dtype=numpy.uint64)
        z = (z ^ (z >> numpy.uint64(30))) * numpy.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> numpy.uint64(27))) * numpy.uint64(0x94D049BB133111EB)
        z ^= z >> numpy.uint64(31)
    return ((z >> numpy.uint64(40)).astype(numpy.float32) / numpy.float32(2**23) - numpy.float32(1)).astype(numpy.float32)


def weight(name, shape, adds_one):
    x = torch.from_numpy(numbers(name, int(numpy.prod(shape))).reshape(shape))
    if name.endswith("norm.weight"):
        return x * 0.5 + (0.0 if adds_one else 1.0)
    if len(shape) == 1:
        return x * 0.5
    return x * (0.25 if "lora" not in name else 0.5)


class Adapted(torch.nn.Module):
    def __init__(self, base, name):
        super().__init__()
        self.base = base
        self.a = torch.nn.Parameter(weight(name + ".lora_A.weight", (RANK, base.in_features), False))
        self.b = torch.nn.Parameter(weight(name + ".lora_B.weight", (base.out_features, RANK), False))

    def forward(self, x):
        return self.base(x) + (x @ self.a.T) @ self.b.T * SCALING


def gguf_of(model, config):
    """What llama.cpp's converter makes of a model, without a vocabulary."""
    for known in (conversion.base.TextModel, *conversion.base.TextModel.__subclasses__()):
        known.set_vocab = lambda self: None
    with tempfile.TemporaryDirectory() as name, contextlib.redirect_stdout(sys.stderr):
        folder = pathlib.Path(name)
        model.save_pretrained(folder)
        (folder / "tokenizer.json").write_text(json.dumps({"model": {"vocab": {str(i): i for i in range(SIZES["vocab_size"])}}, "added_tokens": []}))
        hparams = conversion.ModelBase.load_hparams(folder, False)
        made = conversion.get_model_class(type(model).__name__)
        made.set_vocab = lambda self: None
        made(folder, gguf.LlamaFileType.ALL_F32, folder / "m.gguf", hparams=hparams).write()
        reader = gguf.GGUFReader(folder / "m.gguf")
        keys = {}
        for key, field in reader.fields.items():
            if key.startswith("GGUF.") or key.startswith("general.") and key not in ("general.architecture", "general.type"):
                continue
            value = field.contents()
            keys[key] = [field.types[0].name, value if not isinstance(value, (list, tuple)) else list(value)]
        tensors = {tensor.name: [[int(n) for n in reversed(tensor.shape)], tensor.data.tolist() if tensor.name == "rope_freqs.weight" else
                                 hashlib.sha256(numpy.ascontiguousarray(tensor.data).tobytes()).hexdigest()]
                   for tensor in reader.tensors}
    return {"keys": keys, "tensors": tensors}


def case(title, model_type, changes):
    config = transformers.AutoConfig.for_model(model_type, **{**SIZES, **changes}, attn_implementation="eager")
    model = transformers.AutoModelForCausalLM.from_config(config).float().eval()
    tied = bool(config.tie_word_embeddings)
    shapes, adds_one = {}, model_type.startswith("gemma")
    for name, parameter in model.named_parameters():
        if tied and name == "lm_head.weight":
            continue
        shapes[name] = list(parameter.shape)
        parameter.data.copy_(weight(name, tuple(parameter.shape), adds_one))
        parameter.requires_grad_(False)
    ids = torch.tensor([[(7 * i * i + 3 * i + 5) % SIZES["vocab_size"] for i in range(LENGTH)]])
    made = None if title in NO_GGUF else gguf_of(model, config)
    with torch.no_grad():
        logits = model(ids).logits[0]
        greedy = ids[:, :6]
        for _ in range(10):
            greedy = torch.cat([greedy, model(greedy).logits[:, -1:].argmax(-1)], 1)
    adapters = {}
    for layer, block in enumerate(model.model.layers):
        for part, names in ((block.self_attn, ("q_proj", "k_proj", "v_proj", "o_proj")), (block.mlp, ("gate_proj", "up_proj", "down_proj"))):
            where = "self_attn" if part is block.self_attn else "mlp"
            for module in names:
                name = f"model.layers.{layer}.{where}.{module}"
                adapters[name] = Adapted(getattr(part, module), name)
                setattr(part, module, adapters[name])
    out = model(ids).logits[0]
    loss = torch.nn.functional.cross_entropy(out[:-1], ids[0, 1:])
    loss.backward()
    gradients = {}
    for name, adapted in adapters.items():
        for kind, parameter in (("lora_A", adapted.a), ("lora_B", adapted.b)):
            full = f"{name}.{kind}.weight"
            gradient = parameter.grad.flatten()
            along = [float(gradient @ torch.from_numpy(numbers(f"{full} {i}", gradient.numel()))) for i in range(2)]
            gradients[full] = [float(gradient.norm()), *along]
    kept = json.loads(config.to_json_string(use_diff=False))
    kept.pop("_name_or_path", None)
    kept["architectures"] = [type(model).__name__]
    return {"config": kept, "shapes": shapes, "ids": ids[0].tolist(), "logits": [[round(float(x), 7) for x in row] for row in logits[::3]],
            "greedy": greedy[0].tolist(), "adapted_loss": float(loss.detach()), "gradients": gradients, "gguf": made}


print(json.dumps({"made_with": {"transformers": transformers.__version__, "torch": torch.__version__}, "every": 3, "rank": RANK,
                  "scaling": SCALING, "cases": {name: case(name, *made) for name, made in CASES.items()}}, indent=None))
