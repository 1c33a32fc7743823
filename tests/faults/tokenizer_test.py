"""Tokens that files put before a text, added tokens, ways to split, and tokenizers that are not byte-level BPE."""
import json
import re
import unittest

from fault import ARRAY, BASE, BOOL, I32, STRING, TEXT, U32, FaultTest, read_gguf, read_safetensors, run, write_safetensors

UNCHANGED = 3986.8772188656817


def added(number, text, **flags):
    return {**dict(id=number, content=text, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False), **flags}


def begins_with(text, number):
    """A post-processor that puts a token before a text."""
    token = {"SpecialToken": {"id": text, "type_id": 0}}
    parts = [token, {"Sequence": {"id": "A", "type_id": 0}}]
    return {"type": "TemplateProcessing", "single": parts, "pair": parts + [{"Sequence": {"id": "B", "type_id": 0}}],
            "special_tokens": {text: {"id": text, "ids": [number], "tokens": [text]}}}


class Tokenizers(FaultTest):
    def base_tokenizer(self):
        return json.loads((BASE / "model/tokenizer.json").read_text())

    def with_beginning(self):
        """The folder whose tokenizer has <s> as token 3, put before each text; the last token and its merge made way."""
        tokenizer = self.base_tokenizer()
        model = tokenizer["model"]
        ordered = sorted(model["vocab"], key=model["vocab"].get)[:-1]
        tokens = ordered[:3] + ["<s>"] + ordered[3:]
        model["vocab"] = {token: i for i, token in enumerate(tokens)}
        model["merges"].pop()
        tokenizer["added_tokens"].append(added(3, "<s>", special=True))
        byte_level = {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True}
        processor = {"type": "Sequence", "processors": [byte_level, begins_with("<s>", 3)]}
        return self.base_folder("begins", tokenizer_json={"model": model, "added_tokens": tokenizer["added_tokens"], "post_processor": processor},
                                tokenizer_config_json={"bos_token": "<s>"})

    def test_17_the_token_before_a_text(self):
        model = self.with_beginning()
        self.has_perplexity(model, 2919.8300413345087)
        questions = self.folder / "q.jsonl"
        questions.write_text('{"prompt": "The quick brown fox", "choices": ["jumps", "sells"], "answer": 0}\n')
        report = self.folder / "e.json"
        done = run("evaluate", "--format", "float", "--model", model, "--task", questions, "--json", report)
        self.check(done, 0)
        found = json.loads(report.read_text())["each"][0]["log_likelihood"]
        for value, expected in zip(found, [-5.353112403530394, -6.76746529735974]):
            self.assertAlmostEqual(value, expected, delta=1e-4)

    def test_55_datatype_study_begins_a_text_as_perplexity_does(self):
        text = self.folder / "t.txt"
        text.write_text("a b c")

        def tokens(model):  # a text that is too short is refused with the number that it has
            done = run("datatype_study", "--model", model, "--text", text, "--seq-len", 64, "--output", self.folder / "out")
            self.check(done, 1, "expected at least 128 tokens, found")
            return int(re.search(r"found (\d+)", done.stderr)[1])
        self.assertEqual(tokens(self.with_beginning()), tokens(BASE / "model") + 1)

    def test_17_flags_of_folders_and_of_gguf(self):
        with_processor = self.base_folder("processor", tokenizer_json={"post_processor": begins_with("<|im_start|>", 1)})
        expected = self.perplexity(with_processor)
        self.assertGreater(abs(expected / UNCHANGED - 1), 0.01)
        self.has_perplexity(self.base_gguf(keys={"tokenizer.ggml.add_bos_token": (BOOL, True)}), expected)
        self.has_perplexity(self.base_gguf("off.gguf", keys={"tokenizer.ggml.add_bos_token": (BOOL, False)}), UNCHANGED)
        self.has_perplexity(self.base_folder("flag", tokenizer_config_json={"add_bos_token": True}), expected)
        off = self.base_folder("off", tokenizer_json={"post_processor": begins_with("<|im_start|>", 1)},
                               tokenizer_config_json={"add_bos_token": False})
        self.has_perplexity(off, UNCHANGED)
        self.is_refused(self.base_gguf("none.gguf", keys={"tokenizer.ggml.add_bos_token": (BOOL, True)}, without=["tokenizer.ggml.bos_token_id"]),
                        "tokenizer.ggml.bos_token_id")

    def test_17_plain_text_begins_with_it_in_training(self):
        def windows(model):
            done = run("finetune", "--format", "float", "--rank", 2, "--batch", 1, "--steps", 1, "--seq-len", 64, "--model", model,
                       "--data", TEXT, "--eval-data", TEXT, "--overwrite",
                       "--output", self.folder / ("out-" + model.name))
            self.check(done, 0)
            return float(done.stdout.split("held-out loss before ")[1].split()[0])
        begins = self.base_folder("processor", tokenizer_json={"post_processor": begins_with("<|im_start|>", 1)})
        self.assertNotAlmostEqual(windows(begins), windows(BASE / "model"), delta=1e-3)
        self.assertAlmostEqual(windows(begins), windows(self.base_gguf("b.gguf", keys={"tokenizer.ggml.add_bos_token": (BOOL, True)})), delta=1e-3)

    def test_19_thousands_of_added_tokens(self):
        more = [added(500 + i, f"<|{i}|>") for i in range(4096)]
        tokens = self.base_tokenizer()["added_tokens"] + more
        model = self.base_folder(config={"vocab_size": 4608}, tokenizer_json={"added_tokens": tokens})
        weights = read_safetensors(model / "model.safetensors")
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            dtype, (rows, cols), data = weights[name]
            filler = bytes((4608 - rows) * cols * 4) if name.startswith("model") else data[:cols * 4] * (4608 - rows)
            weights[name] = (dtype, [4608, cols], data + filler)
        write_safetensors(model / "model.safetensors", weights)
        found = self.perplexity(model)
        self.assertIsInstance(found, float, found)

    def test_19_messages_do_not_show_patterns(self):
        broken = self.base_tokenizer()["pre_tokenizer"]
        broken = {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": "a" * 9000 + "("}, "behavior": "Isolated", "invert": False}, {"type": "ByteLevel", "add_prefix_space": False}]}
        said = self.perplexity(self.base_folder(tokenizer_json={"pre_tokenizer": broken}))
        self.assertIn("tokenizer.json", said)
        self.assertLess(len(said), 300)

    def test_20_a_split_without_a_name(self):
        done = run("perplexity", "--format", "float", "--text", TEXT, "--seq-len", 64, "--model", self.base_gguf(without=["tokenizer.ggml.pre"]))
        self.check(done, 0)
        self.assertIn("warning: ", done.stderr)
        self.assertIn("tokenizer.ggml.pre is missing", done.stderr)
        # 768 tokens by llama.cpp's default: 12 windows of 63 predictions.
        self.assertIn("tokens 756", done.stdout)
        self.assertIn("tokens 693", run("perplexity", "--format", "float", "--text", TEXT, "--seq-len", 64, "--model", BASE / "model.gguf").stdout)

    def test_23_kinds_of_tokenizers(self):
        bpe = self.base_tokenizer()["model"]
        for change in ({"byte_fallback": True}, {"fuse_unk": True}, {"unk_token": "<|endoftext|>"}):  # without effect: every byte is there
            self.has_perplexity(self.base_folder("-".join(change), tokenizer_json={"model": dict(bpe, **change)}), UNCHANGED)
        self.has_perplexity(self.base_folder("empty", tokenizer_json={"normalizer": {"type": "Sequence", "normalizers": []}}), UNCHANGED)
        self.has_perplexity(self.base_folder("whole", tokenizer_json={"model": dict(bpe, ignore_merges=True)}), UNCHANGED)
        self.is_refused(self.base_folder("nfc", tokenizer_json={"normalizer": {"type": "NFC"}}), "tokenizer.json", "normalizer", "NFC", "not supported")
        self.is_refused(self.base_folder("unigram", tokenizer_json={"model": {"type": "Unigram", "vocab": []}}), "found Unigram; only byte-level BPE")
        self.is_refused(self.base_gguf("spm.gguf", keys={"tokenizer.ggml.model": (STRING, "llama")}), "SentencePiece", "not supported yet")
        self.is_refused(self.base_gguf("bert.gguf", keys={"tokenizer.ggml.model": (STRING, "bert")}), "tokenizer.ggml.model", "found bert")
        self.is_refused(self.base_gguf("pre.gguf", keys={"tokenizer.ggml.pre": (STRING, "qwen9")}), "tokenizer.ggml.pre", "llama-bpe", "found qwen9")
        for pre in ("default", "llama-bpe", "qwen2"):
            found = self.perplexity(self.base_gguf(pre + ".gguf", keys={"tokenizer.ggml.pre": (STRING, pre), "tokenizer.ggml.add_bos_token": (BOOL, False)}))
            self.assertIsInstance(found, float, found)

    def test_24_control_tokens_typed_normal(self):
        types = read_gguf(BASE / "model.gguf")["keys"]["tokenizer.ggml.token_type"][1][1]
        normal = self.base_gguf(keys={"tokenizer.ggml.token_type": (ARRAY, (I32, [types[0], 1, 1] + types[3:]))})
        done = run("chat", "--format", "float", "--model", normal, "--prompt", "hi", "--max-tokens", 8)
        self.check(done, 0)
        self.assertIn("'<|im_start|>' has the type of a normal one", done.stderr)
        self.assertEqual(done.stdout, run("chat", "--format", "float", "--model", BASE / "model.gguf", "--prompt", "hi", "--max-tokens", 8).stdout)
        self.has_perplexity(self.base_gguf("types.gguf", without=["tokenizer.ggml.token_type"]), UNCHANGED)

    def quantized(self, source, name):
        done = run("quantize", source, self.folder / name, "--format", "float")
        self.check(done, 0)
        return self.folder / name

    def test_55_the_token_before_a_text_is_written(self):
        folder = self.with_beginning()
        self.has_perplexity(folder, 2919.8300413345087)
        gguf = self.quantized(folder, "q.gguf")
        self.assertEqual(read_gguf(gguf)["keys"]["tokenizer.ggml.add_bos_token"], (BOOL, True))
        self.has_perplexity(gguf, 2919.8300413345087)
        back = self.quantized(gguf, "back")
        self.has_perplexity(back, 2919.8300413345087)
        self.assertEqual(json.loads((back / "tokenizer.json").read_text())["post_processor"]["processors"][1]["single"],
                         begins_with("<s>", 3)["single"])
        self.assertEqual(read_gguf(self.quantized(BASE / "model", "no.gguf"))["keys"]["tokenizer.ggml.add_bos_token"], (BOOL, False))

    def test_kinds_of_tokens_and_ends_are_written(self):
        tokens = self.base_tokenizer()["added_tokens"] + [added(499, "Ġmuse", special=False)]
        vocabulary = self.base_tokenizer()["model"]
        name = next(text for text, i in vocabulary["vocab"].items() if i == 499)
        tokens[-1]["content"] = name
        folder = self.base_folder("kinds", tokenizer_json={"added_tokens": tokens}, generation_config_json={"eos_token_id": [2, 17]})
        keys = read_gguf(self.quantized(folder, "q.gguf"))["keys"]
        self.assertEqual(keys["tokenizer.ggml.token_type"][1][1][499], 4)
        self.assertEqual(keys["tokenizer.ggml.token_type"][1][1][:4], [3, 3, 3, 1])
        self.assertEqual(keys["tokenizer.ggml.eot_token_id"], (U32, 17))
        back = self.quantized(self.folder / "q.gguf", "back")
        self.assertIn(tokens[-1], json.loads((back / "tokenizer.json").read_text())["added_tokens"])
        self.assertIn(17, json.loads((back / "config.json").read_text())["eos_token_id"])
        strips = self.base_folder("strips", tokenizer_json={"added_tokens": tokens[:-1] + [dict(tokens[-1], lstrip=True)]})
        done = run("quantize", strips, self.folder / "s.gguf", "--format", "float")
        self.check(done, 1, "lstrip")
        self.assertFalse((self.folder / "s.gguf").exists())

    def test_59_ids_without_a_token(self):
        model = self.base_folder(config={"vocab_size": 2048})
        weights = read_safetensors(model / "model.safetensors")
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            dtype, (rows, cols), data = weights[name]
            weights[name] = (dtype, [2048, cols], data * (2048 // rows))
        write_safetensors(model / "model.safetensors", weights)
        for seed in range(3):
            done = run("chat", "--format", "float", "--model", model, "--prompt", "hi", "--max-tokens", 40, "--temperature", 3, "--seed", seed)
            self.check(done, 0)


if __name__ == "__main__":
    unittest.main()
