#!/usr/bin/env python3
"""Makes the broken files of tests/corpus by hand, one for each rule of the formats, and says what the refusal must hold.

    python3 tests/corpus/make_corpus.py     # rewrites tests/corpus/broken and tests/corpus/seeds
"""
import json
import pathlib
import shutil
import struct

here = pathlib.Path(__file__).parent
expected = {}


def write(name, data, part):
    """A broken file and a part of the message that refuses it."""
    assert name not in expected, name
    expected[name] = part
    (here / "broken" / name).write_bytes(data)


# safetensors

def header(text):
    text = text.encode() if isinstance(text, str) else text
    return struct.pack("<Q", len(text)) + text


def tensor(dtype="F32", shape=(2, 2), offsets=(0, 16)):
    return dict(dtype=dtype, shape=list(shape), data_offsets=list(offsets))


def safetensors(tensors, data=bytes(16), metadata=None):
    text = dict(tensors)
    if metadata is not None:
        text["__metadata__"] = metadata
    return header(json.dumps(text)) + data


def broken_safetensors():
    st = lambda name, data, part: write("st_" + name + ".safetensors", data, part)
    st("empty", b"", "header length of 8 bytes")
    st("seven_bytes", bytes(7), "header length of 8 bytes")
    st("no_header", struct.pack("<Q", 10), "does not fit")
    st("header_past_the_end", struct.pack("<Q", 100) + b"{}", "does not fit")
    st("header_of_2_to_63", struct.pack("<Q", 2 ** 63) + b"{}", "does not fit")
    st("header_of_all_ones", b"\xff" * 8 + b"{}", "does not fit")
    st("header_over_100_mb", struct.pack("<Q", 100_000_001) + b"{}", "does not fit")
    st("header_of_no_length", struct.pack("<Q", 0), "start with '{'")
    st("header_starts_with_a_blank", header(" {}"), "start with '{'")
    st("header_is_a_list", header("[]"), "start with '{'")
    st("header_is_cut", header('{"a":'), "parse error")
    st("header_is_no_utf8", header(b'{"\xff\xfe":1}'), "ill-formed UTF-8")
    st("header_has_two_values", header("{}{}"), "parse error")
    st("name_comes_twice", header('{"a":%s,"a":%s}' % ((json.dumps(tensor()),) * 2)) + bytes(16), "comes twice")
    st("key_comes_twice", header('{"a":{"dtype":"F32","dtype":"F16","shape":[2,2],"data_offsets":[0,16]}}') + bytes(16), "comes twice")
    st("tensor_is_a_number", header('{"a":1}'), "tensor 'a'")
    st("tensor_is_null", header('{"a":null}'), "tensor 'a'")
    st("no_dtype", header('{"a":{"shape":[2,2],"data_offsets":[0,16]}}') + bytes(16), "dtype")
    st("no_shape", header('{"a":{"dtype":"F32","data_offsets":[0,16]}}') + bytes(16), "shape")
    st("no_offsets", header('{"a":{"dtype":"F32","shape":[2,2]}}') + bytes(16), "data_offsets")
    st("dtype_unknown", safetensors({"a": tensor("F31")}), "'F31' is not known")
    st("dtype_in_small_letters", safetensors({"a": tensor("f32")}), "'f32' is not known")
    st("dtype_is_a_number", safetensors({"a": dict(dtype=1, shape=[4], data_offsets=[0, 16])}), "tensor 'a'")
    st("shape_is_a_number", safetensors({"a": dict(dtype="F32", shape=4, data_offsets=[0, 16])}), "tensor 'a'")
    st("shape_of_words", safetensors({"a": tensor(shape=("4",))}), "tensor 'a'")
    st("shape_negative", safetensors({"a": tensor(shape=(-2, -2))}), "tensor 'a'")
    st("shape_of_fractions", safetensors({"a": tensor(shape=(1.5, 2))}), "expected a whole number of 0 or more, found 1.5")
    st("shape_of_2_to_70", safetensors({"a": tensor(shape=(2 ** 70,))}), "expected a whole number")
    st("offsets_of_three", safetensors({"a": tensor(offsets=(0, 8, 16))}), "expected two data_offsets, found 3")
    st("offsets_of_fractions", safetensors({"a": tensor(offsets=(0, 1.6e1))}), "expected a whole number")
    st("shape_overflows", safetensors({"a": tensor(shape=(2 ** 40, 2 ** 40))}), "tensor 'a'")
    st("shape_overflows_to_the_size", safetensors({"a": tensor(shape=(2 ** 32, 2 ** 32, 4))}), "tensor 'a'")
    st("shape_of_2_to_60", safetensors({"a": tensor(shape=(2 ** 60,))}), "out of range")
    st("shape_too_large", safetensors({"a": tensor(shape=(5,))}), "expected 20 bytes")
    st("shape_too_small", safetensors({"a": tensor(shape=(3,))}), "expected 12 bytes")
    st("offsets_of_one", safetensors({"a": tensor(offsets=(0,))}), "tensor 'a'")
    st("offsets_turned", safetensors({"a": tensor(offsets=(16, 0))}), "the range 16 to 0")
    st("offsets_negative", safetensors({"a": tensor(offsets=(-16, 0))}), "tensor 'a'")
    st("offsets_past_the_end", safetensors({"a": tensor(offsets=(8, 24))}), "the range 8 to 24 of 16")
    st("offsets_overlap", safetensors({"a": tensor(), "b": tensor(shape=(1, 2), offsets=(8, 16))}), "overlaps")
    st("offsets_the_same", safetensors({"a": tensor(), "b": tensor()}), "overlaps")
    st("offsets_leave_a_hole", safetensors({"a": tensor(shape=(1,), offsets=(0, 4)), "b": tensor(shape=(1,), offsets=(8, 12))}, bytes(12)), "hole")
    st("offsets_start_late", safetensors({"a": tensor(shape=(2,), offsets=(8, 16))}), "hole")
    st("trailing_bytes", safetensors({"a": tensor()}, bytes(17)), "expected 16 bytes of data, found 17")
    st("data_is_cut", safetensors({"a": tensor()}, bytes(15)), "of 15")
    st("data_without_tensors", header("{}") + bytes(4), "found 4")
    st("metadata_of_numbers", safetensors({"a": tensor()}, metadata={"x": 1}), "__metadata__")
    st("metadata_is_a_list", safetensors({"a": tensor()}, metadata=[1]), "__metadata__")


# GGUF

def text(value):
    value = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(value)) + value


def key(name, kind, value):
    return text(name) + struct.pack("<I", kind) + value


def info(name="a", shape=(2, 2), kind=0, offset=0):
    return text(name) + struct.pack("<I", len(shape)) + b"".join(struct.pack("<Q", n) for n in shape) + struct.pack("<IQ", kind, offset)


def gguf(keys=(), infos=(), data=bytes(16), magic=b"GGUF", version=3, tensors=None, count=None, alignment=32):
    head = magic + struct.pack("<IQQ", version, len(infos) if tensors is None else tensors, len(keys) if count is None else count)
    head += b"".join(keys) + b"".join(infos)
    return head + bytes(-len(head) % alignment) + data


def broken_gguf():
    gg = lambda name, data, part: write("gg_" + name + ".gguf", data, part)
    gg("empty", b"", "magic 'GGUF'")
    gg("three_bytes", b"GGU", "magic 'GGUF'")
    gg("other_magic", gguf(magic=b"GGML"), "magic 'GGUF'")
    gg("magic_alone", b"GGUF", "the end of the file")
    gg("version_1", gguf(version=1), "version 2 or 3, found 1")
    gg("version_4", gguf(version=4), "version 2 or 3, found 4")
    gg("version_of_the_other_byte_order", gguf(version=3 << 24), "version 2 or 3")
    gg("counts_are_cut", b"GGUF" + struct.pack("<I", 3) + bytes(4), "the end of the file")
    gg("tensors_more_than_fit", gguf(tensors=2 ** 60), "tensors can't fit")
    gg("keys_more_than_fit", gguf(count=2 ** 60), "keys can't fit")
    gg("key_missing", gguf(count=1, data=b""), "at byte")
    gg("key_name_past_the_end", gguf(keys=[struct.pack("<Q", 1000) + b"name of a key that is cut"]), "expected a string of 1000 bytes")
    gg("key_name_of_2_to_63", gguf(keys=[struct.pack("<Q", 2 ** 63) + bytes(16)]), "expected a string")
    gg("key_comes_twice", gguf(keys=[key("k", 4, bytes(4)), key("k", 4, bytes(4))]), "'k' comes twice")
    gg("key_of_kind_13", gguf(keys=[key("k", 13, bytes(4))]), "value type below 13, found 13")
    gg("key_of_kind_all_ones", gguf(keys=[key("k", 2 ** 32 - 1, bytes(4))]), "value type below 13")
    gg("value_is_cut", b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key("k", 10, bytes(3)), "a number")
    gg("text_past_the_end", gguf(keys=[key("k", 8, struct.pack("<Q", 500) + b"short")]), "expected a string of 500 bytes")
    gg("list_of_lists", gguf(keys=[key("k", 9, struct.pack("<IQ", 9, 1) + bytes(16))]), "a list of lists")
    gg("list_of_kind_14", gguf(keys=[key("k", 9, struct.pack("<IQ", 14, 1) + bytes(16))]), "value type below 13")
    gg("list_longer_than_the_file", gguf(keys=[key("k", 9, struct.pack("<IQ", 4, 2 ** 40) + bytes(16))]), "values can't fit")
    gg("list_is_cut", gguf(keys=[key("k", 9, struct.pack("<IQ", 10, 40) + bytes(16))], data=bytes(20)), "at byte")
    gg("alignment_0", gguf(keys=[key("general.alignment", 4, struct.pack("<I", 0))]), "power of two, found 0")
    gg("alignment_24", gguf(keys=[key("general.alignment", 4, struct.pack("<I", 24))]), "power of two, found 24")
    gg("alignment_of_2_to_63", gguf(keys=[key("general.alignment", 10, struct.pack("<Q", 2 ** 63))]), "power of two")
    gg("alignment_is_a_text", gguf(keys=[key("general.alignment", 8, text("32"))]), "another kind of value")
    gg("tensor_missing", gguf(tensors=1, data=b"\xff" * 30), "at byte")
    gg("tensor_of_5_dimensions", gguf(infos=[info(shape=(1, 1, 1, 1, 1))]), "at most 4 dimensions, found 5")
    gg("tensor_of_2_to_32_dimensions", gguf(infos=[text("a") + struct.pack("<I", 2 ** 32 - 1) + bytes(40)]), "at most 4 dimensions")
    gg("dimension_0", gguf(infos=[info(shape=(2, 0))]), "a dimension of 0")
    gg("dimension_of_2_to_63", gguf(infos=[info(shape=(2 ** 63,))]), "out of range")
    gg("dimensions_overflow", gguf(infos=[info(shape=(2 ** 32, 2 ** 32))]), "out of range")
    gg("dimensions_overflow_to_4", gguf(infos=[info(shape=(2 ** 62, 4, 4))]), "out of range")
    gg("type_unknown", gguf(infos=[info(kind=99)]), "type 99 is not supported")
    gg("type_removed", gguf(infos=[info(kind=4)]), "type 4 is not supported")
    gg("rows_of_half_a_block", gguf(infos=[info(shape=(16, 4), kind=2)], data=bytes(100)), "a multiple of 32 for Q4_0, found 16")
    gg("rows_of_half_a_k_block", gguf(infos=[info(shape=(128, 2), kind=12)], data=bytes(200)), "a multiple of 256 for Q4_K")
    gg("offset_unaligned", gguf(infos=[info(offset=4)], data=bytes(64)), "no multiple of the alignment 32")
    gg("offset_past_the_end", gguf(infos=[info(offset=3200)]), "is it truncated?")
    gg("offset_of_2_to_63", gguf(infos=[info(offset=2 ** 63)]), "is it truncated?")
    gg("data_is_cut", gguf(infos=[info()], data=bytes(15)), "is it truncated?")
    gg("data_missing", gguf(infos=[info()], data=b""), "is it truncated?")
    gg("tensor_comes_twice", gguf(infos=[info(), info()]), "'a' comes twice")
    gg("tensor_name_past_the_end", gguf(infos=[struct.pack("<Q", 1000) + bytes(64)]), "expected a string of 1000 bytes")
    gg("tensor_too_large_for_the_file", gguf(infos=[info(shape=(2 ** 20, 2 ** 19))]), "is it truncated?")


def seeds():
    """Small well-formed inputs that the fuzzers start from."""
    state = json.dumps(dict(quant_type="nf4", blocksize=64, dtype="float32", shape=[2, 64], nested_blocksize=256, nested_dtype="float32",
                            nested_offset=0.5)).encode()
    parts = {"w": ("U8", (64, 1), bytes(64)), "w.absmax": ("U8", (2,), b"\x05\x06"), "w.quant_map": ("F32", (16,), struct.pack("<16f", *range(16))),
             "w.nested_absmax": ("F32", (1,), bytes(4)), "w.nested_quant_map": ("F32", (256,), bytes(1024)),
             "w.quant_state.bitsandbytes__nf4": ("U8", (len(state),), state), "v": ("F16", (2,), bytes(4))}
    entries, data = {}, b""
    for name, (dtype, shape, content) in parts.items():
        entries[name] = tensor(dtype, shape, (len(data), len(data) + len(content)))
        data += content
    words = ["<|end|>", "a", "b", "ab"]
    tokens = struct.pack("<IQ", 8, 4) + b"".join(map(text, words))
    keys = [key("general.architecture", 8, text("llama")), key("tokenizer.ggml.model", 8, text("gpt2")), key("tokenizer.ggml.tokens", 9, tokens),
            key("tokenizer.ggml.token_type", 9, struct.pack("<IQ4i", 5, 4, 3, 1, 1, 1)),
            key("tokenizer.ggml.merges", 9, struct.pack("<IQ", 8, 1) + text("a b")), key("llama.block_count", 4, struct.pack("<I", 1))]
    infos = [info("token_embd.weight", (2, 4), 1, 0), info("blk.0.attn_q.weight", (32, 2), 2, 32), info("x", (256,), 14, 96)]
    tokenizer = dict(added_tokens=[dict(id=0, content="<|end|>", special=True)], normalizer=None,
                     pre_tokenizer=dict(type="Sequence", pretokenizers=[dict(type="Digits", individual_digits=True),
                                        dict(type="Split", pattern=dict(Regex="a+"), behavior="Isolated"), dict(type="ByteLevel", use_regex=True)]),
                     model=dict(type="BPE", vocab={w: i for i, w in enumerate(words)}, merges=["a b"]))
    adapter = dict(peft_type="LORA", r=8, lora_alpha=16, target_modules=["q_proj"], use_rslora=False)
    for target, content in (("safetensors", safetensors(entries, data)), ("gguf", gguf(keys, infos, bytes(96 + 210))),
                            ("tokenizer_json", json.dumps(tokenizer).encode()), ("adapter_config", json.dumps(adapter).encode())):
        folder = here / "seeds" / target
        folder.mkdir(parents=True)
        (folder / "well_formed").write_bytes(content)
    golden = json.loads((here.parent / "golden" / "jinja.json").read_text())
    sources = [case["source"] for case in golden["cases"] if "text" in case]
    folder = here / "seeds" / "jinja"
    folder.mkdir()
    for i in range(16):
        (folder / f"features_{i:02}").write_text("\n".join(sources[i::16]))


for name in ("broken", "seeds"):
    shutil.rmtree(here / name, ignore_errors=True)
(here / "broken").mkdir()
broken_safetensors()
broken_gguf()
seeds()
(here / "broken" / "expected.json").write_text(json.dumps(expected, indent=0) + "\n")
print(len(expected), "broken files")
