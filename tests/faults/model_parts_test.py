"""Parts of a model that nobody reads: whatever tensor or key is added to a valid model is used, changes nothing, or is refused by name."""
import unittest

from fault import (ARRAY, BASE, BOOL, F32, I32, STRING, U32, FaultTest, floats, read_gguf, read_safetensors, write_safetensors)
from support import run

SAME = 3986.8772188656817
EMBEDDING_AS_HEAD = 4035.6406506319217


def vector(count, value=0.5):
    return floats(*[value] * count)


class GgufParts(FaultTest):
    def each(self, cases):
        """cases: (keys, tensors, what is said), nothing said where the model stays the same."""
        for i, (keys, tensors, *said) in enumerate(cases):
            with self.subTest(f"{keys} {[*tensors]}"):
                model = self.base_gguf(f"{i}.gguf", keys=keys, tensors=tensors)
                if said:
                    self.is_refused(model, *said, *keys, *tensors)
                else:
                    self.has_perplexity(model, SAME)

    def test_a_tensor_that_no_part_reads_is_refused_by_name(self):
        def one(name, count=64, *said):
            return {}, {name: ([count], 0, vector(count))}, *(said or ("no part of this model reads it",))
        bias, query, after = "no such bias", "norms of query and key", "norms after the sublayers"
        self.each([
            one("rope_factors_long.weight", 8, "scaled rotary"),
            *(one(f"blk.1.attn_{name}.bias", count, bias) for name, count in (("q", 64), ("k", 32), ("v", 32), ("output", 64))),
            *(one(f"blk.1.ffn_{name}.bias", count, bias) for name, count in (("gate", 128), ("up", 128), ("down", 64))),
            one("output.bias", 512, bias), one("blk.0.attn_norm.bias", 64, bias), one("output_norm.bias", 64, bias),
            one("blk.0.attn_q_norm.weight", 16, query), one("blk.0.attn_k_norm.weight", 16, query),
            one("blk.0.post_attention_norm.weight", 64, after), one("blk.0.post_ffw_norm.weight", 64, after),
            one("blk.0.attn_norm_2.weight"), one("blk.0.attn_sub_norm.weight"), one("blk.0.attn_rot_embd"), one("token_types.weight"),
            one("position_embd.weight"), one("token_embd_norm.weight"), one("blk.0.attn_sinks.weight", 4, "sinks"), one("cls.weight"),
            one("blk.0.ffn_gate_inp.weight", 64, "mixture of experts"), one("blk.0.ffn_up_exps.weight", 64, "mixture of experts"),
            one("blk.0.layer_output_scale.weight", 1), one("blk.2.attn_norm.weight"), one("blk.0.attn_q.lora_a", 64, "adapter"),
            one("blk.0.ffn_down.scale", 1), one("some.tensor")])

    def test_a_key_of_the_architecture_is_used_or_refused_by_name(self):
        experts = "mixture of experts is not supported"
        self.each([(({f"llama.{name}": value}), {}, *said) for name, value, *said in (
            ("rope.scaling.type", (STRING, "longrope"), "not supported"), ("rope.scaling.attn_factor", (F32, 1.2), "expected 1, found 1.2"),
            ("rope.scaling.yarn_log_multiplier", (F32, 0.1)," is not supported"), ("rope.freq_base_swa", (F32, 1000.), "found 1000"),
            ("rope.dimension_count", (U32, 8), "expected 16", "found 8"), ("rope.dimension_sections", (ARRAY, (I32, [1, 2, 3, 4])), "not supported"),
            ("attention.value_length", (U32, 32), "expected 16", "found 32"), ("attention.sliding_window_pattern", (U32, 2), "not supported"),
            ("attn_logit_softcapping", (F32, 50), "not supported"), ("final_logit_softcapping", (F32, 30), "not supported"),
            ("logit_scale", (F32, 0.5), "not supported"), ("embedding_scale", (F32, 12), "not supported"),
            ("residual_scale", (F32, 0.2), "not supported"), ("attention.scale", (F32, 0.1), "not supported"),
            ("attention.clamp_kqv", (F32, 8), "not supported"), ("attention.causal", (BOOL, False), "expected true, found false"),
            ("attention.max_alibi_bias", (F32, 8), "not supported"), ("attention.layer_norm_epsilon", (F32, 1e-5), "not supported"),
            ("use_parallel_residual", (BOOL, True), "expected false, found true"), ("pooling_type", (U32, 1), "found 1"),
            ("expert_count", (U32, 8), experts), ("expert_used_count", (U32, 2), experts), ("expert_weights_scale", (F32, 2), experts),
            ("leading_dense_block_count", (U32, 1), "not supported"), ("a_new_key", (U32, 1), "not supported"))])

    def test_what_moves_the_numbers_moves_them(self):
        for i, (keys, tensors) in enumerate((
                ({"llama.rope.scaling.factor": (F32, 4)}, {}), ({"llama.rope.scale_linear": (F32, 4)}, {}),
                ({"llama.rope.scaling.type": (STRING, "yarn"), "llama.rope.scaling.factor": (F32, 4),
                  "llama.rope.scaling.original_context_length": (U32, 32)}, {}),
                ({"llama.attention.sliding_window": (U32, 7)}, {}), ({}, {"rope_freqs.weight": ([8], 0, vector(8, 4.0))}),
                ({}, {f"blk.{layer}.attn_q.bias": ([64], 0, vector(64)) for layer in (0, 1)}),
                ({}, {f"blk.{layer}.ffn_down.bias": ([64], 0, vector(64)) for layer in (0, 1)}))):
            with self.subTest(str(keys) + str(list(tensors))):
                self.assertGreater(abs(self.perplexity(self.base_gguf(f"{i}.gguf", keys=keys, tensors=tensors)) / SAME - 1), 1e-3)
        halves = self.perplexity(self.base_gguf("freqs.gguf", tensors={"rope_freqs.weight": ([8], 0, vector(8, 4.0))}))
        linear = self.perplexity(self.base_gguf("linear.gguf", keys={"llama.rope.scaling.factor": (F32, 4)}))
        self.assertLess(abs(halves / linear - 1), 1e-6)  # two ways to say the same

    def test_numbers_of_another_shape_are_refused_by_name(self):
        self.is_refused(self.base_gguf("a.gguf", tensors={"rope_freqs.weight": ([4], 0, vector(4))}), "rope_freqs.weight", "expected 8 numbers")
        self.is_refused(self.base_gguf("b.gguf", tensors={"rope_freqs.weight": ([8], 0, vector(8, 0.0))}), "rope_freqs.weight", "above 0, found 0")
        self.is_refused(self.base_gguf("c.gguf", keys={"llama.attention.key_length": (U32, 32)}), "llama.rope.dimension_count", "expected 32")
        self.is_refused(self.base_gguf("d.gguf", keys={"llama.attention.key_length": (U32, 32), "llama.attention.value_length": (U32, 32),
                                                       "llama.rope.dimension_count": (U32, 32)}), "expected shape [128, 64], found [64, 64]")
        self.is_refused(self.base_gguf("e.gguf", tensors={"blk.0.attn_q.bias": ([64], 0, vector(64))}), "blk.1.attn_q.bias", "found none")

    def test_keys_that_change_nothing_are_let_pass(self):
        self.each([(keys, {}) for keys in (
            {"llama.rope.scaling.factor": (F32, 1)}, {"llama.rope.scale_linear": (F32, 1)}, {"llama.rope.scaling.type": (STRING, "none")},
            {"llama.rope.scaling.type": (STRING, "none"), "llama.rope.scaling.factor": (F32, 4)},
            {"llama.rope.scaling.type": (STRING, "linear"), "llama.rope.scaling.factor": (F32, 1)}, {"llama.rope.scaling.type": (STRING, "yarn")},
            {"llama.rope.scaling.original_context_length": (U32, 512)}, {"llama.attention.causal": (BOOL, True)},
            {"llama.expert_count": (U32, 0), "llama.expert_used_count": (U32, 0)}, {"llama.attention.sliding_window": (U32, 512)},
            {"llama.attention.key_length": (U32, 16), "llama.attention.value_length": (U32, 16)}, {"llama.vocab_size": (U32, 500)},
            {"llama.tensor_data_layout": (STRING, "Meta AI original pth")}, {"general.name": (STRING, "x"), "quantize.imatrix.file": (STRING, "y")})])

    def test_sizes_out_of_bounds_are_named(self):
        for i, (key, value, said) in enumerate((
                ("embedding_length", (U32, 0), "embedding_length: expected a whole number from 1 to 2147483647, found 0"),
                ("embedding_length", (I32, -64), "embedding_length: expected a whole number from 1 to 2147483647, found -64"),
                ("embedding_length", (STRING, "wide"), "embedding_length: expected a whole number, found wide"),
                ("block_count", (U32, 0), "found 0"), ("feed_forward_length", (U32, 0), "found 0"),
                ("context_length", (U32, 4294967295), "context_length: expected a whole number from 1 to 2147483647"),
                ("attention.head_count", (U32, 6), "attention.head_count: expected a divisor of the width 64, found 6"),
                ("attention.head_count", (U32, 64), "embedding_length: expected an even width"),
                ("attention.head_count_kv", (U32, 3), "attention.head_count_kv: expected a divisor of the 4 heads, found 3"),
                ("attention.head_count_kv", (ARRAY, (I32, [2, 4])), "one number for all layers"),
                ("rope.freq_base", (F32, 0), "rope.freq_base: expected a finite number above 0, found 0"),
                ("rope.freq_base", (F32, float("nan")), "expected a finite number"),
                ("attention.layer_norm_rms_epsilon", (F32, -1), "found -1"),
                ("block_count", (U32, 2000000000), "expected the tensor 'blk.2.attn_norm.weight', found none"))):
            with self.subTest(f"{key} {value}"):
                model = self.base_gguf(f"{i}.gguf", keys={f"llama.{key}": value})
                self.is_refused(model, f"{i}.gguf", said)

    def test_equal_head_counts_of_all_layers_are_one(self):
        self.has_perplexity(self.base_gguf(keys={"llama.attention.head_count": (ARRAY, (I32, [4, 4])),
                                                 "llama.attention.head_count_kv": (ARRAY, (I32, [2, 2]))}), SAME)

    def test_other_kinds_of_file_are_named(self):
        for kind in ("adapter", "mmproj", "imatrix"):
            self.is_refused(self.base_gguf(f"{kind}.gguf", keys={"general.type": (STRING, kind)}), "general.type: expected model, found " + kind)
        self.is_refused(self.base_gguf("m.gguf", keys={"general.architecture": (STRING, "mamba")}), "expected one of llama, qwen2, ", "found mamba")

    def test_without_a_head_the_embedding_serves(self):
        self.has_perplexity(self.base_gguf(without=("output.weight",)), EMBEDDING_AS_HEAD)


class FolderTest(FaultTest):
    def folder_with(self, name, tensors=None, config=None, without=()):
        to = self.base_folder(name, config=config)
        path = to / "model.safetensors"
        kept = {key: value for key, value in read_safetensors(path).items() if key not in without}
        write_safetensors(path, {**kept, **(tensors or {})})
        return to


class FolderParts(FolderTest):
    def test_a_tensor_that_no_part_reads_is_refused_by_name(self):
        for i, (name, count, *said) in enumerate((
                *((f"model.layers.0.self_attn.{which}_proj.bias", 64, "no such bias") for which in "qkvo"),
                *((f"model.layers.1.mlp.{which}_proj.bias", 64, "no such bias") for which in ("gate", "up", "down")),
                ("model.layers.0.self_attn.q_norm.weight", 16, "norms of query and key"), ("lm_head.bias", 512, "no such bias"),
                ("model.layers.0.pre_feedforward_layernorm.weight", 64), ("model.layers.2.input_layernorm.weight", 64),
                ("model.layers.0.mlp.gate.weight", 64, "mixture of experts"), ("model.layers.0.block_sparse_moe.experts.0.w1.weight", 64, "mixture"),
                ("model.layers.0.self_attn.q_proj.qweight", 64, "GPTQ or AWQ"), ("model.layers.0.self_attn.q_proj.SCB", 64, "8 bits"),
                ("model.layers.0.self_attn.q_proj.weight_scale", 1, "FP8"), ("model.layers.0.self_attn.q_proj.lora_A.weight", 64, "adapter"),
                ("model.layers.0.self_attn.q_proj.weight.absmax", 64), ("score.weight", 64), ("some_scale", 1))):
            with self.subTest(name):
                self.is_refused(self.folder_with(str(i), {name: ("F32", [count], vector(count))}), name, *said)

    def test_frequencies_that_config_json_says_too_are_left_out(self):
        self.has_perplexity(self.folder_with("m", {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": ("F32", [8], vector(8))
                                                   for layer in (0, 1)}), SAME)

    def test_a_key_that_changes_the_numbers_is_refused_by_name(self):
        for i, (key, value, *said) in enumerate((
                ("use_bias", True), ("sliding_window", 64, "found 64"), ("partial_rotary_factor", 0.5, "found 0.5"),
                ("rope_scaling", {"rope_type": "llama3", "factor": 8.0}, "low_freq_factor"),
                ("rope_scaling", {"type": "dynamic", "factor": 4.0}, "dynamic is not supported"),
                ("rope_scaling", {"type": "longrope", "factor": 4.0}, "longrope is not supported"),
                ("rope_parameters", {"rope_type": "yarn", "factor": 4.0, "rope_theta": 1e4}, "original_max_position_embeddings"),
                ("rope_parameters", {"rope_type": "default", "factor": 4.0, "rope_theta": 1e4}, "factor"),
                ("rope_parameters", {"rope_type": "default", "partial_rotary_factor": 0.5}, "partial_rotary_factor"),
                ("rope_parameters", {"full_attention": {"rope_type": "default"}}, "full_attention"),
                ("embedding_multiplier", 12.0), ("residual_multiplier", 0.2), ("attention_multiplier", 0.1), ("logits_scaling", 8.0),
                ("logit_scale", 0.0625), ("final_logit_softcapping", 30.0), ("attn_logit_softcapping", 50.0), ("query_pre_attn_scalar", 256),
                ("clip_qkv", 8.0), ("use_qk_norm", True), ("num_experts", 8, "mixture of experts"), ("num_local_experts", 8, "mixture of experts"),
                ("moe_intermediate_size", 64, "mixture of experts"), ("pretraining_tp", 2, "found 2"), ("no_rope_layers", [1, 0]),
                ("layer_types", ["full_attention", "sliding_attention"], "sliding_attention"), ("rope_interleaved", True), ("hidden_act", "gelu"),
                ("auto_map", {"AutoModel": "x.py"}, "code of its own"), ("model_type", "mamba", "found mamba"), ("pruned_heads", {"0": [1]}),
                ("quantization", {"bits": 4, "group_size": 64}), ("compression_config", {"format": "x"}), ("a_new_key", True), ("another", 0.5))):
            with self.subTest(f"{key} {value}"):
                self.is_refused(self.base_folder(str(i), config={key: value}), "config.json", key, *said)

    def test_a_key_that_says_more_weights_wants_them(self):
        for i, (key, value, said) in enumerate((
                ("attention_bias", True, "self_attn.q_proj.bias"), ("mlp_bias", True, "mlp.gate_proj.bias"), ("head_dim", 32, "q_proj.weight"),
                ("model_type", "qwen3", "self_attn.q_norm.weight"), ("model_type", "qwen2", "self_attn.q_proj.bias"),
                ("num_attention_heads", 6, "q_proj.weight"))):
            with self.subTest(f"{key} {value}"):
                self.is_refused(self.base_folder(str(i), config={key: value}), said)

    def test_a_scaled_rotary_embedding_moves_the_numbers(self):
        for i, scaling in enumerate(({"type": "linear", "factor": 4.0},
                                     {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                      "original_max_position_embeddings": 32},
                                     {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32})):
            with self.subTest(scaling):
                self.assertGreater(abs(self.perplexity(self.base_folder(str(i), config={"rope_scaling": scaling})) / SAME - 1), 1e-3)

    def test_other_quantizers_are_named(self):
        for i, (value, said) in enumerate((
                ({"quant_method": "gptq", "bits": 4}, "gptq"), ({"quant_method": "awq", "bits": 4}, "awq"), ({"quant_method": "fp8"}, "fp8"),
                ({"quant_method": "compressed-tensors"}, "compressed-tensors"), ({"quant_method": "hqq"}, "hqq"),
                ({"load_in_8bit": True}, "bitsandbytes in 8 bits"), ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes in 8 bits"),
                ({"bits": 4}, "none"))):
            with self.subTest(said):
                self.is_refused(self.base_folder(str(i), config={"quantization_config": value}), f"quantization_config: {said} is not supported")
        name = "model.layers.0.self_attn.q_proj.weight"  # FP8 without a word in config.json
        self.is_refused(self.folder_with("fp8", {name: ("F8_E4M3", [64, 64], b"\x10" * 4096)}), name, "found F8_E4M3")

    def test_values_that_change_nothing_are_let_pass(self):
        for i, config in enumerate((
                {"rope_parameters": None, "rope_theta": 10000, "rope_scaling": {"rope_type": "default"}},
                {"rope_parameters": None, "rope_scaling": {"type": "default"}}, {"rope_parameters": None, "rope_theta": 10000.0},
                {"hidden_act": "swish"}, {"sliding_window": 512}, {"model_type": "mistral", "sliding_window": 4096},
                {"use_sliding_window": False, "sliding_window": 64}, {"layer_types": ["full_attention"] * 2}, {"num_experts": 0},
                {"embedding_multiplier": 1.0, "logits_scaling": 1}, {"torch_dtype": "bfloat16", "dtype": None}, {"use_qk_norm": False},
                {"unsloth_version": "2025.1", "temperature": 0.7, "max_sequence_length": 2048})):
            with self.subTest(config):
                self.has_perplexity(self.base_folder(str(i), config=config), SAME)
        nulls = self.base_folder("nulls")
        text = (nulls / "config.json").read_text()
        more = dict.fromkeys(("rope_scaling", "head_dim", "sliding_window", "quantization_config", "attention_bias", "a_new_key", "pretraining_tp",
                              "final_logit_softcapping", "hidden_act", "partial_rotary_factor"))
        (nulls / "config.json").write_text(text.replace('"pretraining_tp": 1,', "").replace('"attention_bias": false,', "").replace(
            '"hidden_act": "silu",', "").replace('"head_dim": 16,', "").replace("{", "{" + "".join(f'"{key}": null,' for key in more), 1))
        self.has_perplexity(nulls, SAME)

    def test_mistral_without_a_window_is_the_same_computation(self):
        mistral = self.base_folder("null", config={"model_type": "mistral"})
        text = (mistral / "config.json").read_text()
        self.has_perplexity(mistral, SAME)  # its default window of 4096 is above the context
        (mistral / "config.json").write_text(text.replace("{", '{"sliding_window": null,', 1))
        self.has_perplexity(mistral, SAME)
        (mistral / "config.json").write_text(text.replace('"max_position_embeddings": 512', '"max_position_embeddings": 8192'))
        self.has_perplexity(mistral, SAME)  # no text is longer than the default window
        self.has_perplexity(self.base_folder("long", config={"model_type": "mistral", "sliding_window": 64}), SAME)
        short = self.perplexity(self.base_folder("short", config={"model_type": "mistral", "sliding_window": 7}))
        self.assertGreater(abs(short / SAME - 1), 1e-3)

    def test_defaults_are_those_of_transformers(self):
        self.has_perplexity(self.base_folder("context", config={"max_position_embeddings": None, "max_sequence_length": 2048}), SAME)
        self.has_perplexity(self.base_folder("theta", config={"rope_parameters": None}), SAME)
        near = self.perplexity(self.base_folder("epsilon", config={"rms_norm_eps": None}))
        self.assertEqual(near, self.perplexity(self.base_folder("said", config={"rms_norm_eps": 1e-6})))
        heads = self.base_folder("heads", config={"num_key_value_heads": None})  # as many as heads
        self.is_refused(heads, "k_proj.weight", "expected shape [64, 64], found [32, 64]")

    def test_sizes_out_of_bounds_are_named(self):
        for i, (key, value, *said) in enumerate((
                ("hidden_size", 0, "found 0"), ("hidden_size", -64, "found -64"), ("hidden_size", 64.5, "found 64.5"), ("hidden_size", "wide", "wide"),
                ("hidden_size", 2**40, "from 1 to 2147483647"), ("num_attention_heads", 0, "found 0"),
                ("num_key_value_heads", 3, "divisor of the 4 heads, found 3"), ("max_position_embeddings", 0, "found 0"), ("vocab_size", 0, "found 0"),
                ("rms_norm_eps", 0, "above 0, found 0"), ("rms_norm_eps", "small", "a number, found small"), 
                ("tie_word_embeddings", "no", "true or false, found no"), ("rope_parameters", [1], "an object, found [1]"),
                ("rope_parameters", {"rope_theta": -1.0}, "found -1"))):
            with self.subTest(f"{key} {value}"):
                named = "rope_theta" if value == {"rope_theta": -1.0} else key
                self.is_refused(self.base_folder(str(i), config={key: value}), "config.json", named, *said)
        many = self.base_folder("many", config={"num_hidden_layers": 10**9})
        self.is_refused(many, "expected the tensor 'model.layers.2.input_layernorm.weight', found none")
        for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size", "model_type"):
            with self.subTest(f"without {key}"):
                self.is_refused(self.base_folder("without_" + key, config={key: None}), "config.json", f"expected the key '{key}', found none")


class Heads(FolderTest):
    def test_a_head_that_is_missing_and_not_tied_is_refused(self):
        head = ("lm_head.weight",)
        self.is_refused(self.folder_with("false", without=head), "lm_head.weight", "tie_word_embeddings is false")
        self.is_refused(self.folder_with("absent", without=head, config={"tie_word_embeddings": None}), "tie_word_embeddings is false")
        self.has_perplexity(self.folder_with("tied", without=head, config={"tie_word_embeddings": True}), EMBEDDING_AS_HEAD)

    def test_a_head_of_its_own_counts_though_tied(self):
        model = self.base_folder("own", config={"tie_word_embeddings": True})
        done = run("perplexity", "--format", "float", "--text", BASE / "text.txt", "--seq-len", 64, "--model", model)
        self.check(done, 0)
        self.assertLess(abs(float(done.stdout.split()[1]) / SAME - 1), 1e-4)
        self.assertIn("lm_head.weight", done.stderr)
        self.assertIn("the head in the file counts", done.stderr)

    def test_a_head_that_is_the_embedding_again_says_nothing(self):
        embedding = read_safetensors(BASE / "model" / "model.safetensors")["model.embed_tokens.weight"]
        model = self.folder_with("again", {"lm_head.weight": embedding}, {"tie_word_embeddings": True})
        done = run("perplexity", "--format", "float", "--text", BASE / "text.txt", "--seq-len", 64, "--model", model)
        self.check(done, 0)
        self.assertLess(abs(float(done.stdout.split()[1]) / EMBEDDING_AS_HEAD - 1), 1e-4)
        self.assertEqual(done.stderr, "")


class Written(FolderTest):
    """What quantize can't carry over is refused, not lost."""

    def test_from_gguf_to_a_folder(self):
        for i, (keys, tensors, said) in enumerate((
                ({}, {"rope_freqs.weight": ([8], 0, vector(8))}, "rope_freqs.weight"), ({}, {"blk.0.attn_q.bias": ([64], 0, vector(64))}, "attn_q.bias"),
                ({"llama.rope.scaling.factor": (F32, 4)}, {}, "scaled rotary embedding"), ({"llama.logit_scale": (F32, 4)}, {}, "logit_scale"))):
            with self.subTest(said):
                model = self.base_gguf(f"{i}.gguf", keys=keys, tensors=tensors)
                for form in ("float", "nf4"):
                    self.check(run("quantize", model, self.folder / "out", "--format", form), 1, said)
                    self.assertFalse((self.folder / "out").exists())
                self.check(run("quantize", model, self.folder / "out.gguf", "--format", "q8_0", "--overwrite"), 0)  # GGUF carries everything
                copy = read_gguf(self.folder / "out.gguf")
                self.assertEqual([key for key in keys if key not in copy["keys"]] + [name for name in tensors if name not in copy["tensors"]], [])

    def test_from_a_folder_to_gguf(self):
        bias = self.folder_with("bias", {"model.layers.0.self_attn.q_proj.bias": ("F32", [64], vector(64))})
        headless = self.folder_with("headless", without=("lm_head.weight",))
        for model, said in ((bias, "q_proj.bias"), (headless, "tie_word_embeddings is false"),
                            (self.base_folder("scaled", config={"rope_scaling": {"type": "linear", "factor": 2.0}}), "scaled rotary embedding"),
                            (self.base_folder("scale", config={"logit_scale": 2.0}), "logit_scale")):
            with self.subTest(said):
                self.check(run("quantize", model, self.folder / "out.gguf", "--format", "q8_0"), 1, said)
                self.assertFalse((self.folder / "out.gguf").exists())


if __name__ == "__main__":
    unittest.main()
