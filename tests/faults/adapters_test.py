"""Adapters in PEFT's layout: the tensors say which modules have one, the configuration how it is scaled, and nothing else goes unnoticed."""
import json
import shutil
import struct
import unittest

from fault import BASE, INPUTS, TEXT, FaultTest, floats, read_safetensors, write_safetensors
from support import run

PLAIN = 4027.5172619234727  # PEFT's perplexity of inputs/adapters/plain on the base model
Q0 = "base_model.model.model.layers.0.self_attn.q_proj."


class Adapters(FaultTest):
    def adapter(self, name="plain", tensors=None, rename=None, without=(), **config):
        """A copy of an adapter: `config` is laid over its configuration, `tensors` over its tensors, `rename` changes their names."""
        to = self.folder / f"adapter{len(list(self.folder.iterdir()))}"
        shutil.copytree(INPUTS / "adapters" / name, to)
        path = to / "adapter_config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **config}))
        file = to / "adapter_model.safetensors"
        stored = {(rename or (lambda key: key))(key): value for key, value in read_safetensors(file).items() if key not in without}
        write_safetensors(file, {**stored, **(tensors or {})})
        return to

    def has(self, adapter, expected):
        self.has_perplexity(BASE / "model", expected, more=("--adapter", adapter))

    def refused(self, adapter, *parts):
        self.is_refused(BASE / "model", *parts, more=("--adapter", adapter))

    def test_the_tensors_say_which_modules_whatever_target_modules_is(self):
        for name, expected in {"plain": PLAIN, "linear": 3707.1282888959645, "suffix": 4035.1833825672443,
                               "layers": 3946.918262063208}.items():
            with self.subTest(name):
                self.has(INPUTS / "adapters" / name, expected)
        for config in ({"exclude_modules": ".*layers\\.0\\..*", "layers_to_transform": None}, {"target_modules": "all-linear"},
                       {"target_modules": None}, {"layers_pattern": "layers"}):
            with self.subTest(config):
                self.has(self.adapter("layers", **config), 3946.918262063208)

    def test_ranks_and_alphas_by_pattern(self):
        self.has(INPUTS / "adapters" / "rank", 3932.7736380853135)
        for pattern, expected in (({"layers.0.self_attn.q_proj": 32}, 3945.108157387347),
                                  ({"^model.layers.0.self_attn.q_proj": 32}, 3945.108157387347),
                                  ({r"layers\.0\..*(q|k)_proj": 32}, 3945.108157387347),
                                  ({"layers.0.self_attn.q_proj": 32, "q_proj": 8}, 3945.108157387347),
                                  ({"q_proj": 8, "layers.0.self_attn.q_proj": 32}, PLAIN),  # the first that matches counts
                                  ({"self_attn.q": 32}, PLAIN),  # a whole name, or what follows a dot
                                  ({"proj": 32}, PLAIN)):
            with self.subTest(pattern):
                self.has(self.adapter(alpha_pattern=pattern), expected)

    def test_rank_stabilized_scaling(self):
        self.has(self.adapter(use_rslora=True, lora_alpha=4), PLAIN)  # 4 / sqrt(4) = 8 / 4
        pattern = {"layers.0.self_attn.q_proj": 16}
        self.has(self.adapter(use_rslora=True, lora_alpha=4, alpha_pattern=pattern), 3945.108157387347)

    def test_null_is_the_default(self):
        nothing = dict.fromkeys(("use_dora", "lora_dropout", "rank_pattern", "alpha_pattern", "bias", "init_lora_weights", "fan_in_fan_out",
                                 "use_rslora", "modules_to_save", "loftq_config", "base_model_name_or_path", "task_type", "a_new_key"))
        self.has(self.adapter(**nothing), PLAIN)
        self.has(self.adapter(lora_alpha=None), PLAIN)  # PEFT's default is 8 too

    def test_names_with_other_parts_in_them(self):
        for rename in (lambda key: key.replace("base_model.model.", "base_model.model._orig_mod."),
                       lambda key: "_orig_mod." + key,
                       lambda key: key.replace(".weight", ".default.weight"),
                       lambda key: key.replace("base_model.model.", "base_model.model._orig_mod.").replace(".weight", ".default.weight")):
            with self.subTest(rename(Q0 + "lora_A.weight")):
                self.has(self.adapter(rename=rename), PLAIN)

    def test_what_training_did_to_the_base_is_not_lost(self):
        for start in ("pissa", "pissa_niter_16", "olora", "corda", "loftq", "lora_ga", "mica", "a new one", 7):
            with self.subTest(start):
                self.refused(self.adapter(init_lora_weights=start), "init_lora_weights", str(start), "changed the base model")
        for start in (True, False, "gaussian", "eva", "orthogonal"):
            with self.subTest(start):
                self.has(self.adapter(init_lora_weights=start), PLAIN)
        for key in ("loftq_config", "corda_config", "lora_ga_config"):
            with self.subTest(key):
                self.refused(self.adapter(**{key: {"bits": 4}}), key)

    def test_a_key_that_changes_the_numbers_is_refused_by_name(self):
        for key, value in {"use_dora": True, "fan_in_fan_out": True, "bias": "lora_only", "lora_bias": True, "use_qalora": True,
                           "modules_to_save": ["lm_head"], "layer_replication": [[0, 2], [1, 2]], "alora_invocation_tokens": [1, 2],
                           "trainable_token_indices": [5], "target_parameters": ["mlp.experts"], "megatron_config": {"a": 1},
                           "arrow_config": {"top_k": 2}, "kasa_config": {"beta": 1}, "velora_config": {"a": 1},
                           "monteclora_config": {"n": 1}, "use_bdlora": {"nblocks": 2}, "ensure_weight_tying": True,
                           "peft_type": "IA3", "a_new_key": True, "another": [1]}.items():
            with self.subTest(key):
                self.refused(self.adapter(**{key: value}), "adapter_config.json", key)

    def test_values_of_another_kind_are_named(self):
        for key, value, found in (("r", "four", "four"), ("r", 0, "found 0"), ("r", -4, "-4"), ("lora_alpha", "8", "found 8"),
                                  ("lora_dropout", 2, "found 2"), ("use_rslora", "yes", "found yes"), ("target_modules", 3, "found 3"),
                                  ("rank_pattern", [1], "found [1]"), ("rank_pattern", {"q_proj": "x"}, 'found "x"'),
                                  ("alpha_pattern", {"(": 3}, "'('"), ("alpha_pattern", {"q_proj": None}, "null")):
            with self.subTest(f"{key} {value}"):
                self.refused(self.adapter(**{key: value}), "adapter_config.json", key, found)

    def test_a_tensor_nobody_reads_is_refused_by_the_name_it_has(self):
        one = ("F32", [64], floats(*[0.5] * 64))
        for name in (Q0 + "lora_magnitude_vector", Q0 + "lora_B.bias", Q0 + "lora_A.other.weight", Q0 + "base_layer.weight",
                     "base_model.model.lm_head.weight", "base_model.model.model.embed_tokens.lora_embedding_A",
                     "model.layers.0.self_attn.q_proj.lora_C.weight"):
            with self.subTest(name):
                self.refused(self.adapter(tensors={name: one}), "adapter_model.safetensors", name)

    def test_an_adapter_of_another_model_is_refused_by_module(self):
        def pair(module, rows, columns):
            return {f"base_model.model.{module}.lora_A.weight": ("F32", [4, columns], floats(*[0.1] * (4 * columns))),
                    f"base_model.model.{module}.lora_B.weight": ("F32", [rows, 4], floats(*[0.1] * (4 * rows)))}
        for module, rows, columns, said in (("model.layers.2.self_attn.q_proj", 64, 64, "no projection"), ("lm_head", 512, 64, "no projection"),
                                            ("model.layers.0.self_attn.qkv_proj", 64, 64, "no projection"),
                                            ("model.layers.0.self_attn.k_proj", 64, 64, "expected an adapter of a weight [32, 64]"),
                                            ("model.layers.0.self_attn.q_proj", 64, 32, "found one of [64, 32]")):
            with self.subTest(module):
                self.refused(self.adapter(tensors=pair(module, rows, columns)), module, said)
        self.refused(self.adapter(r=8), "expected rank 8", "found 4")
        self.refused(self.adapter(without=(Q0 + "lora_B.weight",)), Q0 + "lora_A.weight", "lora_B")
        self.refused(self.adapter(without=(Q0 + "lora_A.weight",)), Q0 + "lora_B.weight", "lora_A")
        self.refused(self.adapter(rename=lambda key: key.replace("base_model.model.", "")), "expected base_model.model.")
        both = self.adapter(tensors={Q0 + "lora_A.default.weight": ("F32", [4, 64], floats(*[0.1] * 256))})
        self.refused(both, "under another name too")
        empty = self.adapter()
        write_safetensors(empty / "adapter_model.safetensors", {})
        self.refused(empty, "expected the tensors of an adapter")

    def test_values_that_are_not_finite_are_refused_by_place(self):
        for value in (float("nan"), float("inf")):
            data = bytearray(floats(*[0.1] * 256))
            data[4 * 70:4 * 71] = struct.pack("<f", value)
            self.refused(self.adapter(tensors={Q0 + "lora_A.weight": ("F32", [4, 64], bytes(data))}), Q0 + "lora_A.weight", "row 1, column 6")

    def test_an_adapter_in_the_models_folder_is_said_to_be_left_out(self):
        both = self.base_folder("both")
        for file in (INPUTS / "adapters" / "plain").iterdir():
            shutil.copy(file, both)
        plain = run("perplexity", "--format", "float", "--text", TEXT, "--seq-len", 64, "--model", BASE / "model")
        done = run("perplexity", "--format", "float", "--text", TEXT, "--seq-len", 64, "--model", both)
        self.check(done, 0, plain.stdout)
        self.assertIn("both/adapter_config.json: the adapter in this folder is no part of the model and is left out", done.stderr)
        self.assertNotIn("adapter_config.json", plain.stderr)
        self.has_perplexity(both, PLAIN, more=("--adapter", both))

    def test_files_of_another_kind_are_named(self):
        other = self.adapter()
        (other / "adapter_model.safetensors").rename(other / "adapter_model.bin")
        self.refused(other, "adapter_model.bin, which is not supported")
        (other / "adapter_config.json").write_text("[]")
        self.refused(other, "adapter_config.json", "expected an object")

    def test_chat_takes_the_adapter_too(self):
        done = run("chat", "--model", BASE / "model", "--format", "float", "--adapter", self.adapter(init_lora_weights="pissa"), "--prompt", "hi")
        self.check(done, 1, "init_lora_weights")


if __name__ == "__main__":
    unittest.main()
