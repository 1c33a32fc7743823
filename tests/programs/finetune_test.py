"""finetune on a tiny model: what it writes, and how it refuses bad input."""
import csv
import hashlib
import json
import struct
import subprocess
import os
import unittest

from support import CHAT, ProgramTest, run


class Finetune(ProgramTest):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out"
        self.data = self.write("d.jsonl", CHAT * 8)

    def finetune(self, *more, data=None, model=None, out=None):
        return run("finetune", "--model", model or self.model, "--data", data or self.data, "--output", out or self.out,
                   "--overwrite", *more)

    def refused(self, done, *parts, code=1):
        self.check(done, code, *parts)
        self.assertFalse(self.out.exists(), "something was written")

    def test_writes_the_adapter_metrics_picture_and_settings(self):
        done = self.finetune("--steps", 5, "--rank", 4, "--alpha", 8, "--lr", "1e-3", "--warmup-steps", 2, "--schedule",
                             "linear", "--eval-data", self.data)
        self.check(done, 0, "trainable parameters", "held-out loss before", "held-out loss after", "step 5/5")
        self.assertEqual({path.name for path in self.out.iterdir()},
                         {"adapter_config.json", "adapter_model.safetensors", "metrics.csv", "loss.png", "qlora.json"})
        with open(self.out / "metrics.csv") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual(list(rows[0]), ["step", "loss", "learning_rate", "gradient_norm", "tokens_per_second", "resident_mib"])
        self.assertEqual([row["step"] for row in rows], ["1", "2", "3", "4", "5"])
        self.assertEqual([float(row["learning_rate"]) for row in rows[:3]], [0, 5e-4, 1e-3])
        settings = json.loads((self.out / "qlora.json").read_text())
        self.assertEqual((settings["format"], settings["block_size"], settings["rank"]), ("nf4-dq", 64, 4))
        self.assertEqual(len(settings["model_sha256"]), 64)
        self.assertEqual(settings["data_sha256"], hashlib.sha256(self.data.read_bytes()).hexdigest())
        self.assertEqual(settings["eval_data_sha256"], settings["data_sha256"])
        self.assertIn(settings["compute"], ("float32", "bfloat16"))  # what ran; asked was auto
        self.assertGreaterEqual(settings["threads"], 1)
        self.assertEqual(settings["steps_done"], 5)
        self.assertIsNone(settings["chat_template"])  # the model's own
        self.assertRegex(settings["qlora_version"], r"^\d+\.\d+\.\d+$")
        self.assertEqual((self.out / "loss.png").read_bytes()[:4], b"\x89PNG")
        config = json.loads((self.out / "adapter_config.json").read_text())
        self.assertEqual((config["peft_type"], config["r"], config["lora_alpha"]), ("LORA", 4, 8.0))
        with open(self.out / "adapter_model.safetensors", "rb") as file:
            header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        self.assertEqual(header["base_model.model.model.layers.1.mlp.down_proj.lora_A.weight"]["shape"], [4, 48])
        self.assertEqual(len([name for name in header if name != "__metadata__"]), 2 * 7 * 2)

    def test_every_format_schedule_and_target_trains(self):
        for options in (["--format", "nf4", "--block-size", 32], ["--format", "fp4"], ["--format", "int4", "--block-size", 128],
                        ["--schedule", "cosine"], ["--targets", "attention"], ["--format", "float"],
                        ["--train-on", "questions-and-answers"], ["--grad-checkpoint"], ["--accumulate", 2]):
            self.check(self.finetune("--steps", 2, *options), 0, "step 2/2")

    def test_every_arithmetic_and_optimizer_trains(self):
        for options in (["--compute", "float32"], ["--compute", "bfloat16"], ["--optimizer", "adamw8bit"], ["--optimizer", "lion"],
                        ["--optimizer", "schedule-free-adamw"], ["--optimizer", "ademamix-bf16", "--weight-decay", 0.1],
                        ["--max-grad-value", 0.01]):
            self.check(self.finetune("--steps", 2, *options), 0, "step 2/2")
            self.assertEqual(json.loads((self.out / "qlora.json").read_text())[options[0][2:].replace("-", "_")], options[1])

    def test_paged_state_trains_to_the_same_bytes(self):
        adapters = []
        for options in ([], ["--paged", self.folder, "--paged-budget", "1MiB"]):
            self.check(self.finetune("--steps", 3, "--compute", "float32", *options), 0, *(["paged optimizer state"] if options else []))
            adapters.append((self.out / "adapter_model.safetensors").read_bytes())
        self.assertEqual(adapters[0], adapters[1])
        self.assertFalse(list(self.folder.glob("qlora-paged*")))

    def test_a_paged_folder_that_is_not_there_is_refused(self):
        done = self.finetune("--steps", 1, "--paged", self.folder / "missing")
        self.check(done, 1, "missing")

    def test_the_same_seed_writes_the_same_bytes(self):
        adapters = []
        for seed in (1, 1, 2):
            self.check(self.finetune("--steps", 3, "--seed", seed), 0)
            adapters.append((self.out / "adapter_model.safetensors").read_bytes())
        self.assertEqual(adapters[0], adapters[1])
        self.assertNotEqual(adapters[0], adapters[2])

    def test_a_plain_text_trains_in_windows(self):
        text = self.write("t.txt", "the thin hat in the inn " * 20)
        self.check(self.finetune("--epochs", 2, "--seq-len", 32, "--batch", 3, data=text), 0, "examples, 0 cut")

    def test_help_names_the_options(self):
        self.check(run("finetune", "--help"), 0, "--grad-checkpoint", "--warmup-steps", "constant")

    def test_wrong_usage_is_2(self):
        self.refused(run("finetune"), "--model is required", code=2)
        for options in (["--format", "nf5"], ["--rank", 0], ["--steps", -1], ["--block-size", 48], ["--dropout", 1.5],
                        ["--schedule", "step"], ["--optimizer", "adamax"], ["--compute", "half"], ["--paged-budget", "1MiB"], ["--steps", 1, "--epochs", 1], ["--batch", 0], ["--nonsense"]):
            self.refused(self.finetune(*options), options[0], code=2)

    def test_a_missing_truncated_or_foreign_model_is_refused(self):
        self.refused(self.finetune(model=self.folder / "no.gguf"), "no.gguf", "No such file")
        whole = self.model.read_bytes()
        for size in (0, 3, 100, 5000, len(whole) - 1):
            self.refused(self.finetune(model=self.write("cut.gguf", whole[:size])), "cut.gguf")
        other = self.write("o.gguf", whole.replace(b"\x05\0\0\0\0\0\0\0llama", b"\x05\0\0\0\0\0\0\0mamba", 1))
        self.refused(self.finetune(model=other), "expected one of llama, qwen2, ", "found mamba")
        at = whole.index(b"blk.1.ffn_down.weight") + len("blk.1.ffn_down.weight") + 4 + 16
        kind = self.write("k.gguf", whole[:at] + struct.pack("<I", 77) + whole[at + 4:])
        self.refused(self.finetune(model=kind), "blk.1.ffn_down.weight", "type 77")

    def test_weights_that_are_not_finite_are_refused(self):
        bad = self.folder / "bad.gguf"
        subprocess.run([os.environ["QLORA_MAKE_TINY_MODEL"], bad, "infinite"], check=True)
        self.check(self.finetune(model=bad), 1, "blk.1.ffn_down.weight", "found inf")
        self.assertEqual(list(self.out.iterdir()) if self.out.exists() else [], [])

    def test_empty_or_broken_data_is_refused_by_line(self):
        self.refused(self.finetune(data=self.write("e.jsonl", "")), "e.jsonl")
        self.refused(self.finetune(data=self.write("e.txt", "")), "e.txt")
        self.refused(self.finetune(data=self.folder / "no.jsonl"), "no.jsonl")
        self.refused(self.finetune(data=self.write("b.jsonl", CHAT + CHAT + '{"messages": [')), "b.jsonl:3:")
        self.refused(self.finetune(data=self.write("r.jsonl", CHAT.replace("user", "robot"))), "r.jsonl:1:", "robot")

    def test_a_device_is_used_where_there_is_one_and_missed_by_name_elsewhere(self):
        done = self.finetune("--steps", 2, "--device", "cuda")
        if done.returncode == 0:
            self.check(done, 0, "step 2/2")
        else:
            self.refused(done, "--device cuda: ")

    def test_a_sequence_longer_than_the_context_is_refused(self):
        self.refused(self.finetune("--seq-len", 513), "--seq-len 513", "is 512")

    def test_an_output_that_can_not_be_written_is_refused(self):
        file = self.write("file", "x")
        self.check(self.finetune(out=file), 1, "file")
        self.check(self.finetune(out=file / "below"), 1, "below")
        self.assertEqual(file.read_text(), "x")

    def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_adapter(self):
        done = self.finetune("--steps", 8, "--lr", "1e30", "--warmup-steps", 2)
        self.check(done, 1, "expected a finite loss", "holds the adapter after step 1")
        self.assertEqual({path.name for path in self.out.iterdir()},
                         {"adapter_config.json", "adapter_model.safetensors", "metrics.csv", "qlora.json", "loss.png"})
        self.assertEqual(json.loads((self.out / "qlora.json").read_text())["steps_done"], 1)
        self.check(run("chat", "--model", self.model, "--adapter", self.out, "--prompt", "Hi", "--max-tokens", 4), 0)

    def test_the_last_update_is_checked(self):
        for options in (["--lr", "1e30"], ["--lr", "1e30", "--optimizer", "schedule-free-adamw8bit"], ["--lr", "1e300"],
                        ["--lr", "1e30", "--targets", "attention", "--optimizer", "lion-bf16"]):
            done = self.finetune("--steps", 1, *options)
            self.check(done, 1, "step 1: ", "after the update", "a lower learning rate may help")
            self.assertFalse(self.out.exists(), options)
        done = self.finetune("--steps", 2, "--lr", "1e30", "--warmup-steps", 1)
        self.check(done, 1, "step 2: ", "holds the adapter after step 1")


if __name__ == "__main__":
    unittest.main()
