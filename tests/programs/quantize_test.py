"""quantize on a tiny model: every kind of input and output, what other programs read, and how it fails."""
import csv
import json
import os
import pathlib
import random
import resource
import shutil
import signal
import struct
import subprocess
import time
import unittest

from support import CHAT, ProgramTest, examples, run


def read_header(path):
    with open(path, "rb") as file:
        return json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))


def tensor_text(path, name):
    header = read_header(path)
    begin, end = header[name]["data_offsets"]
    data = path.read_bytes()
    start = 8 + struct.unpack("<Q", data[:8])[0]
    return data[start + begin:start + end].decode()


class Quantize(ProgramTest):
    def setUp(self):
        super().setUp()
        self.text = self.write("t.txt", "the thin hat in the inn 12 " * 10)

    def quantize(self, source, target, form, *more):
        return run("quantize", source, self.folder / target, "--format", form, *more)

    def made(self, source, target, form, *more):
        done = self.quantize(source, target, form, *more)
        self.check(done, 0, "size before", "SNR dB")
        return self.folder / target

    def perplexity(self, model, form):
        done = run("perplexity", "--model", model, "--text", self.text, "--seq-len", 32, "--format", form)
        self.check(done, 0)
        return done.stdout.split()[1]

    def test_a_gguf_file_becomes_a_folder_in_bitsandbytes_layout(self):
        out = self.made(self.model, "out", "nf4", "--double-quant")
        self.assertEqual({path.name for path in out.iterdir()},
                         {"config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"})
        header = read_header(out / "model.safetensors")
        name = "model.layers.1.self_attn.o_proj.weight"
        self.assertEqual((header[name]["dtype"], header[name]["shape"]), ("U8", [32 * 32 // 2, 1]))
        self.assertEqual(header[name + ".absmax"]["dtype"], "U8")
        state = json.loads(tensor_text(out / "model.safetensors", name + ".quant_state.bitsandbytes__nf4"))
        self.assertEqual((state["quant_type"], state["blocksize"], state["shape"]), ("nf4", 64, [32, 32]))
        self.assertEqual(header["model.embed_tokens.weight"]["dtype"], "F32")  # skipped
        self.assertEqual(header["model.norm.weight"]["shape"], [32])
        config = json.loads((out / "config.json").read_text())
        self.assertEqual(config["model_type"], "llama")
        self.assertTrue(config["tie_word_embeddings"])
        quantization = config["quantization_config"]
        self.assertEqual((quantization["quant_method"], quantization["load_in_4bit"], quantization["bnb_4bit_quant_type"],
                          quantization["bnb_4bit_use_double_quant"]), ("bitsandbytes", True, "nf4", True))
        self.assertEqual(self.perplexity(out, "as-is"), self.perplexity(self.model, "nf4-dq"))

    def test_every_program_takes_the_folder(self):
        out = self.made(self.model, "out", "nf4-dq")
        data = self.write("d.jsonl", CHAT * 4)
        self.check(run("finetune", "--model", out, "--data", data, "--output", self.folder / "adapter", "--steps", 2,
                       "--format", "as-is"), 0, "step 2/2")
        done = run("chat", "--model", out, "--adapter", self.folder / "adapter", "--prompt", "Hi", "--max-tokens", 3,
                   "--temperature", 0)
        self.check(done, 0)
        self.assertEqual(done.stderr, "")  # the same model, the adapter's own format
        self.check(run("chat", "--model", self.model, "--adapter", self.folder / "adapter", "--prompt", "Hi",
                       "--max-tokens", 3), 0)

    def test_formats_of_this_library_are_read_back(self):
        for form in ("nf3", "bof4-s-opq", "learned4", "mxfp4"):
            out = self.made(self.model, form, form)
            self.assertEqual(json.loads((out / "config.json").read_text())["quantization_config"]["format"], form)
            self.assertEqual(self.perplexity(out, "as-is"), self.perplexity(self.model, form), form)

    def test_one_safetensors_file_and_blocks_of_another_size(self):
        file = self.made(self.model, "m.safetensors", "fp4", "--block-size", 128)
        state = json.loads(tensor_text(file, "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__fp4"))
        self.assertEqual(state["blocksize"], 128)
        again = self.made(file, "again.safetensors", "int4")  # packed weights are decoded
        header = read_header(again)
        self.assertIn("model.layers.0.mlp.up_proj.weight.quant_state.qlora__int4", header)
        self.assertNotIn("model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__fp4", header)

    def test_float_decodes_packed_weights_and_turns_rows_back(self):
        packed = self.made(self.model, "packed", "nf4")
        done = self.quantize(packed, "floats", "float")
        self.check(done, 0, "size before")
        config = json.loads((self.folder / "floats" / "config.json").read_text())
        self.assertNotIn("quantization_config", config)
        self.assertEqual(read_header(self.folder / "floats" / "model.safetensors")["model.layers.0.mlp.up_proj.weight"]["dtype"], "F32")
        near = float(self.perplexity(packed, "as-is"))
        self.assertAlmostEqual(float(self.perplexity(self.folder / "floats", "float")) / near, 1, places=4)
        # A copied q_proj keeps its meaning in the other file's order of rows.
        for target in ("plain", "plain.gguf"):
            self.check(self.quantize(self.model if target == "plain" else self.folder / "plain", target, "float"), 0)
            self.assertEqual(self.perplexity(self.folder / target, "float"), self.perplexity(self.model, "float"))

    def test_a_folder_becomes_a_folder_with_its_other_files(self):
        first = self.made(self.model, "first", "q8_0")
        (first / "LICENSE").write_text("free")
        (first / "pytorch_model.bin").write_text("weights")
        second = self.made(first, "second", "nf4")
        self.assertEqual((second / "LICENSE").read_text(), "free")
        self.assertFalse((second / "pytorch_model.bin").exists())
        self.assertEqual((second / "tokenizer.json").read_bytes(), (first / "tokenizer.json").read_bytes())
        self.assertEqual(json.loads((second / "config.json").read_text())["quantization_config"]["bnb_4bit_quant_type"], "nf4")

    def test_gguf_to_gguf_and_folder_to_gguf(self):
        for form in ("q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "iq4_nl", "mxfp4"):
            direct = self.made(self.model, form + ".gguf", form)
            floats = float(self.perplexity(direct, "float"))
            self.assertAlmostEqual(float(self.perplexity(direct, "as-is")) / floats, 1, places=3)
        folder = self.made(self.model, "folder", "nf8", "--skip", "nothing")
        turned = self.made(folder, "turned.gguf", "q8_0")
        # Rows of q and k went to Hugging Face's order and back; norms are float32 again.
        near = float(self.perplexity(self.folder / "q8_0.gguf", "as-is"))
        self.assertLess(abs(float(self.perplexity(turned, "as-is")) / near - 1), 0.05)
        self.check(run("chat", "--model", turned, "--prompt", "Hi", "--max-tokens", 2), 0)

    def test_rows_that_blocks_of_256_do_not_fill_get_another_type_and_the_program_says_so(self):
        for form, instead in (("q2_k", "q4_0"), ("q3_k", "q4_0"), ("q4_k", "q5_0"), ("q5_k", "q5_1"), ("q6_k", "q8_0"), ("iq4_xs", "iq4_nl")):
            done = self.quantize(self.model, f"{form}.gguf", form)
            self.check(done, 0)
            self.assertIn(f"rows that blocks of {form} do not fill; they become {instead}", done.stderr)
            direct = self.made(self.model, f"{instead}.gguf", instead, "--overwrite")
            self.assertEqual((self.folder / f"{form}.gguf").read_bytes(), direct.read_bytes())

    def test_whole_parts_of_names_are_skipped(self):
        out = self.made(self.model, "a.gguf", "q4_0", "--skip", "token_embd", "ffn_up")
        done = self.quantize(self.model, "b.safetensors", "nf4")
        self.assertIn("blk.0.attn_output.weight", done.stdout)  # "output" is another part
        self.assertTrue(out.exists())
        report = self.folder / "r.csv"
        self.made(self.model, "c.safetensors", "nf4", "--skip", "ffn_up", "--report", report)
        with open(report) as file:
            rows = {row["tensor"]: row for row in csv.DictReader(file)}
        self.assertEqual(rows["blk.0.ffn_up.weight"]["format"], "copied")
        self.assertEqual(rows["token_embd.weight"]["format"], "nf4")
        row = rows["blk.1.ffn_gate.weight"]
        self.assertEqual((row["rows"], row["cols"], row["bytes_before"], row["bytes_after"]),
                         ("48", "32", str(48 * 32 * 4), str(48 * 32 // 2 + 48 * 32 // 64 * 4)))
        self.assertTrue(0 < float(row["mean_squared_error"]) < float(row["largest_error"]) ** 2)
        self.assertTrue(15 < float(row["signal_to_noise_db"]) < 30)

    def test_copied_tensors_take_the_type_asked_for(self):
        file = self.made(self.model, "m.safetensors", "nf4", "--dtype", "bfloat16")
        self.assertEqual(read_header(file)["model.norm.weight"]["dtype"], "BF16")
        state = json.loads(tensor_text(file, "model.layers.0.mlp.up_proj.weight.quant_state.bitsandbytes__nf4"))
        self.assertEqual(state["dtype"], "bfloat16")

    def test_an_output_that_is_there_is_refused_or_replaced_whole(self):
        for target, form in (("out", "nf4"), ("out.gguf", "q4_0"), ("out.safetensors", "nf4")):
            out = self.made(self.model, target, form)
            if out.is_dir():
                (out / "old").write_text("old")
            else:
                out.write_bytes(b"old")
            self.check(self.quantize(self.model, target, form), 1, target + ": expected a new", "--overwrite")
            self.assertTrue((out / "old").exists() if out.is_dir() else out.read_bytes() == b"old")
            self.made(self.model, target, form, "--overwrite")
            self.assertFalse((out / "old").exists())
            self.perplexity(out, "as-is") if not target.endswith("safetensors") else read_header(out)

    def test_overwrite_never_removes_its_input(self):
        self.check(self.quantize(self.model, self.model, "q4_0", "--overwrite"), 1, "--overwrite would remove")
        folder = self.made(self.model, "out", "nf4")
        self.check(self.quantize(folder, folder, "nf4", "--overwrite"), 1, "--overwrite would remove")
        self.check(self.quantize(folder / "model.safetensors", folder, "nf4", "--overwrite"), 1, "--overwrite would remove")
        self.assertTrue((folder / "model.safetensors").exists())

    def refused(self, done, *parts, code=1):
        self.check(done, code, *parts)
        left = {path.name for path in self.folder.iterdir()} - {"tiny.gguf", "t.txt", "full", "n.gguf", "x.safetensors"}
        self.assertEqual(left, set(), "something was left")

    def test_wrong_usage_is_2_and_bad_input_1(self):
        self.refused(self.quantize(self.model, "o", "int4", "--double-quant"), "--double-quant", code=2)
        self.refused(self.quantize(self.model, "o", "nf5"), "--format", code=2)
        self.refused(run("quantize", self.model), "OUTPUT", code=2)
        self.refused(self.quantize(self.model, "o.gguf", "nf4"), "GGUF has no type for nf4")
        self.refused(self.quantize(self.model, "o", "mxfp4", "--block-size", 64), "its block size is 32")
        self.refused(self.quantize(self.folder / "no.gguf", "o", "nf4"), "no.gguf")
        self.refused(self.quantize(self.write("x.safetensors", b"\x05\0\0\0\0\0\0\0{"), "o", "nf4"), "x.safetensors")
        self.refused(self.quantize(self.model, "no/such/folder", "nf4"), "no/such/folder")
        self.refused(run("quantize", self.model, "/proc/out", "--format", "nf4"), "/proc/out")
        (self.folder / "full").mkdir()
        (self.folder / "full" / "file").write_text("kept")
        self.refused(self.quantize(self.model, "full", "nf4"), "expected a new or empty folder")
        broken = bytearray(self.model.read_bytes())
        broken[-4:] = struct.pack("<f", float("nan"))
        self.refused(self.quantize(self.write("n.gguf", bytes(broken)), "o", "nf4"), "blk.1.ffn_down.weight", "row 31, column 47")

    def test_a_full_disk_leaves_nothing(self):
        def small_files():
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
        for target in ("out", "out.safetensors", "out.gguf"):
            done = subprocess.run([examples / "quantize", self.model, self.folder / target, "--format", "q4_0"],
                                  capture_output=True, text=True, preexec_fn=small_files)
            self.refused(done, "can't write: File too large")

    def test_killed_at_any_time_the_target_is_whole_or_not_there(self):
        whole = {path.name: path.read_bytes() for path in self.made(self.model, "whole", "nf4").iterdir()}
        start = time.monotonic()
        shutil.rmtree(self.made(self.model, "timed", "nf4"))
        took = time.monotonic() - start
        for attempt in range(30):
            target = self.folder / f"out{attempt}"
            run_ = subprocess.Popen([examples / "quantize", self.model, target, "--format", "nf4"], stdout=subprocess.DEVNULL)
            time.sleep(random.Random(attempt).uniform(0, 1.5 * took))
            run_.kill()
            run_.wait()
            if target.exists():
                self.assertEqual({path.name: path.read_bytes() for path in target.iterdir()}, whole)


if __name__ == "__main__":
    unittest.main()
