"""quantize of other architectures than a Llama: only weights of linear layers are packed, and what transformers could not load is refused."""
import json
import random
import struct
import unittest

from fault import BASE, FaultTest, read_safetensors, write_safetensors
from support import run

W, V, P = 64, 512, 130  # width, vocabulary, positions


def tensor(*shape):
    count = 1
    for size in shape:
        count *= size
    values = random.Random(str(shape)).choices((-0.5, -0.1, 0.2, 0.4), k=count)
    return "F32", list(shape), struct.pack(f"<{count}f", *values)


def opt():
    layer = "model.decoder.layers.0."
    linear = {layer + f"self_attn.{name}.weight": (W, W) for name in ("q_proj", "k_proj", "v_proj", "out_proj")}
    linear.update({layer + "fc1.weight": (128, W), layer + "fc2.weight": (W, 128)})
    others = {"model.decoder.embed_tokens.weight": (V, W), "model.decoder.embed_positions.weight": (P, W), layer + "fc1.bias": (128,),
              "model.decoder.project_in.weight": (W, W), layer + "final_layer_norm.weight": (W,)}
    return {"model_type": "opt", "vocab_size": V}, linear, others


def neox():
    layer = "gpt_neox.layers.0."
    linear = {layer + "attention.query_key_value.weight": (3 * W, W), layer + "attention.dense.weight": (W, W),
              layer + "mlp.dense_h_to_4h.weight": (128, W), layer + "mlp.dense_4h_to_h.weight": (W, 128)}
    others = {"gpt_neox.embed_in.weight": (V, W), "embed_out.weight": (V, W), layer + "attention.dense.bias": (W,), layer + "attention.bias": (8, 8)}
    return {"model_type": "gpt_neox"}, linear, others


def bloom():
    layer = "transformer.h.0."
    linear = {layer + "self_attention.query_key_value.weight": (3 * W, W), layer + "mlp.dense_h_to_4h.weight": (128, W)}
    others = {"transformer.word_embeddings.weight": (V, W), "transformer.word_embeddings_layernorm.weight": (W,)}
    return {"model_type": "bloom"}, linear, others


def t5():
    block = "decoder.block.0.layer.0.SelfAttention."
    linear = {block + f"{name}.weight": (W, W) for name in "qkvo"}
    others = {"shared.weight": (V, W), block + "relative_attention_bias.weight": (32, 4), "lm_head.weight": (V, W)}
    return {"model_type": "t5"}, linear, others


def gpt2():
    linear = {"transformer.h.0.attn.c_attn.weight": (W, 3 * W), "transformer.h.0.mlp.c_fc.weight": (W, 256)}
    return {"model_type": "gpt2"}, linear, {"transformer.wte.weight": (V, W), "transformer.wpe.weight": (P, W)}


class Architectures(FaultTest):
    def made(self, model):
        config, linear, others = model()
        folder = self.folder / config["model_type"]
        folder.mkdir()
        (folder / "config.json").write_text(json.dumps(config))
        write_safetensors(folder / "model.safetensors", {name: tensor(*shape) for name, shape in {**linear, **others}.items()})
        return folder, linear, others

    def test_tables_heads_and_what_is_outside_the_layers_stay(self):
        for model in (opt, neox, bloom, t5):
            folder, linear, others = self.made(model)
            for form in ("nf4", "nf4-dq", "nf3"):
                with self.subTest(f"{model.__name__} {form}"):
                    out = self.folder / f"{model.__name__}-{form}"
                    done = run("quantize", folder, out, "--format", form)
                    self.check(done, 0)
                    self.assertEqual("is not known" in done.stderr, model is t5, done.stderr)
                    written = read_safetensors(out / "model.safetensors")
                    source = read_safetensors(folder / "model.safetensors")
                    self.assertEqual({name: written[name] for name in others}, {name: source[name] for name in others})
                    for name in linear:
                        self.assertEqual(written[name][0], "U8", name)
                    config = json.loads((out / "config.json").read_text())["quantization_config"]
                    skipped = config["llm_int8_skip_modules" if form != "nf3" else "skip_modules"]
                    copied = {name.removesuffix(".weight") for name, shape in others.items() if len(shape) == 2 and name.endswith(".weight")}
                    self.assertEqual(set(skipped), copied | {"lm_head"})

    def test_layers_that_are_stored_in_another_way_are_refused_by_name(self):
        folder, _, _ = self.made(gpt2)
        for kind in ("gpt2", "falcon", "mixtral"):
            (folder / "config.json").write_text(json.dumps({"model_type": kind}))
            self.check(run("quantize", folder, self.folder / "out", "--format", "nf4"), 1, f"model_type: {kind} is not supported")
            self.assertFalse((self.folder / "out").exists())
        self.check(run("quantize", folder, self.folder / "floats", "--format", "float"), 0)

    def test_a_folder_packed_by_others_is_refused_by_method(self):
        folder, _, _ = self.made(opt)
        (folder / "config.json").write_text(json.dumps({"model_type": "opt", "quantization_config": {"quant_method": "gptq", "bits": 4}}))
        for form in ("nf4", "float"):
            self.check(run("quantize", folder, self.folder / "out", "--format", form), 1, "quantization_config: gptq is not supported")

    def test_skip_names_what_else_to_copy_and_tables_stay_in_bitsandbytes_layout(self):
        folder, linear, others = self.made(opt)
        self.check(run("quantize", folder, self.folder / "out", "--format", "nf4", "--skip", "fc1"), 0)
        written = read_safetensors(self.folder / "out" / "model.safetensors")
        packed = {name for name, (dtype, _, _) in written.items() if dtype == "U8" and name in linear}
        self.assertEqual(packed, {name for name in linear if "fc1" not in name})
        self.assertEqual(written["model.decoder.embed_tokens.weight"][0], "F32")
        done = run("quantize", folder, self.folder / "none", "--format", "nf4", "--skip", "weight")
        self.check(done, 1, "expected a matrix to quantize, found none")

    def test_a_file_of_plain_matrices_is_packed_whole(self):
        source = self.folder / "m.safetensors"
        write_safetensors(source, {"w": tensor(4, 64), "a.weight": tensor(4, 64), "tok_embeddings.weight": tensor(4, 64)})
        self.check(run("quantize", source, self.folder / "q.safetensors", "--format", "nf4"), 0)
        written = read_safetensors(self.folder / "q.safetensors")
        self.assertEqual([written[name][0] for name in ("w", "a.weight", "tok_embeddings.weight")], ["U8", "U8", "F32"])


class AsIs(FaultTest):
    def warning(self, model):
        done = run("perplexity", "--format", "as-is", "--text", BASE / "text.txt", "--seq-len", 64, "--model", model)
        self.check(done, 0)
        return done.stderr

    def test_weights_that_become_floats_are_told_with_their_bytes(self):
        self.assertEqual(self.warning(BASE / "model.gguf"), "")
        for dtype in ("float16", "bfloat16"):
            self.check(run("quantize", BASE / "model", self.folder / dtype, "--format", "float", "--dtype", dtype), 0)
            said = self.warning(self.folder / dtype)
            # Two tables of 512 x 64, and of each layer 2 x 64 x 64 + 2 x 32 x 64 + 3 x 128 x 64 weights.
            weights = 2 * 512 * 64 + 2 * (2 * 64 * 64 + 2 * 32 * 64 + 3 * 128 * 64)
            self.assertIn(f"{weights / 2**19:.1f} MiB in the file, {weights / 2**18:.1f} MiB in memory", said)
            self.assertIn("16 weights in " + ("F16" if dtype == "float16" else "BF16"), said)
        self.check(run("quantize", BASE / "model", self.folder / "q.gguf", "--format", "q8_0"), 0)
        self.assertEqual(self.warning(self.folder / "q.gguf"), "")


if __name__ == "__main__":
    unittest.main()
