#!/usr/bin/env python3
"""Makes tests/golden/tokenizers.json with Hugging Face's tokenizers; run by hand, never in CI.

    python3 -m venv venv && venv/bin/pip install tokenizers==0.23.3
    venv/bin/python tests/golden/make_tokenizers.py tests/golden

A small byte-level BPE, changes laid over its tokenizer.json, and the ids of texts with each: of the text alone, of the text with
what stands before and after it, and of the text in which nothing is special.
"""
import importlib.metadata
import json
import pathlib
import sys

from tokenizers import Tokenizer, pre_tokenizers

stand_ins = sorted(pre_tokenizers.ByteLevel.alphabet())
merges = [("Ġ", "t"), ("h", "e"), ("Ġt", "he"), ("i", "n"), ("1", "2"), ("l", "l"), ("Ġ", "Ġ"), ("'", "s"), ("Ð", "Ģ"), ("a", "b"), ("ab", "c")]
tokens = ["<end>"] + stand_ins + [a + b for a, b in merges]
added = lambda i, text, **flags: dict(dict(id=i, content=text, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False), **flags)
byte_level = dict(type="ByteLevel", add_prefix_space=False, trim_offsets=True, use_regex=True)
base = dict(version="1.0", truncation=None, padding=None, added_tokens=[added(0, "<end>", special=True)], normalizer=None,
            pre_tokenizer=byte_level, post_processor=byte_level, decoder=byte_level,
            model=dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None, fuse_unk=False,
                       byte_fallback=False, ignore_merges=False, vocab={t: i for i, t in enumerate(tokens)},
                       merges=[f"{a} {b}" for a, b in merges]))
n = len(tokens)
llama3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
split = lambda regex: dict(type="Split", pattern=dict(Regex=regex), behavior="Isolated", invert=False)
splits = lambda *patterns: dict(type="Sequence", pretokenizers=[split(p) for p in patterns] + [dict(byte_level, use_regex=False)])
special = lambda name, i: {name: dict(id=name, ids=[i], tokens=[name])}
around = dict(type="TemplateProcessing",
              single=[dict(SpecialToken=dict(id="<end>", type_id=0)), dict(Sequence=dict(id="A", type_id=0)), dict(SpecialToken=dict(id="<end>", type_id=0))],
              pair=[dict(Sequence=dict(id="A", type_id=0)), dict(Sequence=dict(id="B", type_id=1))], special_tokens=special("<end>", 0))
flags = [base["added_tokens"][0]]
cases = [
    ("as it is", {}),
    ("added tokens, the longest first", dict(added_tokens=flags + [added(n, "<a>"), added(n + 1, "<a><b>"), added(n + 2, "a<")])),
    ("white space before", dict(added_tokens=flags + [added(n, "<a>", lstrip=True)])),
    ("white space after", dict(added_tokens=flags + [added(n, "<a>", rstrip=True)])),
    ("white space on both sides of a special one", dict(added_tokens=flags + [added(n, "<a>", lstrip=True, rstrip=True, special=True)])),
    ("a word by itself", dict(added_tokens=flags + [added(n, "the", single_word=True), added(n + 1, "<a>", single_word=True)])),
    ("normalized ones come after the others", dict(added_tokens=flags + [added(n, "b<end", normalized=True), added(n + 1, "the", normalized=True)])),
    ("words that are tokens are taken whole", dict(pre_tokenizer=splits(llama3), model=dict(ignore_merges=True))),
    ("Llama 3's split", dict(pre_tokenizer=splits(llama3))),
    ("the split that llama.cpp calls default", dict(pre_tokenizer=splits(r"[\p{P}\$\+<=>\^~\|]+", gpt2, r"\p{N}+", "[0-9][0-9][0-9]"))),
    ("digits one by one", dict(pre_tokenizer=dict(type="Sequence", pretokenizers=[dict(type="Digits", individual_digits=True), byte_level]))),
    ("digits together", dict(pre_tokenizer=dict(type="Sequence", pretokenizers=[dict(type="Digits", individual_digits=False), byte_level]))),
    ("white space of Unicode", dict(pre_tokenizer=splits(r"\s+", r"[^\S\n]|\S"))),
    ("lines", dict(pre_tokenizer=splits(r"^.|.$"))),
    ("matches without a character", dict(pre_tokenizer=splits(r"[\x{80}-\x{bf}]|", r"(?=b)|b"))),
    ("tokens around a text", dict(post_processor=dict(type="Sequence", processors=[byte_level, around]))),
    ("bytes all there", dict(model=dict(unk_token="<end>", byte_fallback=True, fuse_unk=True))),
    ("an empty normalizer", dict(normalizer=dict(type="Sequence", normalizers=[]))),
]
texts = ["", " ", "the the  the", "in 12 1234 ٣", "it's IT'S 'LL\r\n\r\n x", "a<end>b <end> c", " <a> <a>  <a><b>\n<a>the", "the<a>them the-the the_ _<a>",
         "ab<end> b<end", "a\u180eb\u0085c\u2028d\u00a0e\u200bf\u3000g\u1680h", "\t\n \u2003 x \n", "Ж\u0080Ѐ 你好 🚀é", "abc abcabc", "b\nbb\n\nb", "1.5$+3=x^y|z~`w`",
         "<a>\u00e9 \u00e9<a> \u0301<a>", "  <a>  ", "<end><end>", "\u017f's 'ſ K"]


def laid_over(value, change):
    if not isinstance(change, dict) or not isinstance(value, dict) or "type" in change:
        return change
    return dict(value, **{k: laid_over(value.get(k), v) for k, v in change.items()})


result = []
for name, change in cases:
    whole = laid_over(base, change)
    tokenizer = Tokenizer.from_str(json.dumps(whole))
    plain = Tokenizer.from_str(json.dumps(whole))
    plain.encode_special_tokens = True
    result.append(dict(name=name, change=change, ids=[[
        tokenizer.encode(t, add_special_tokens=False).ids, tokenizer.encode(t).ids, plain.encode(t, add_special_tokens=False).ids] for t in texts]))
golden = dict(tokenizers=importlib.metadata.version("tokenizers"), base=base, texts=texts, cases=result)
(pathlib.Path(sys.argv[1]) / "tokenizers.json").write_text(json.dumps(golden, ensure_ascii=False) + "\n", encoding="utf-8")
