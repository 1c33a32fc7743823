"""chat on a tiny model."""
import json
import unittest

from support import CHAT, ProgramTest, run


class Chat(ProgramTest):
    def chat(self, *more, stdin=""):
        return run("chat", "--model", self.model, "--max-tokens", 8, *more, stdin=stdin)

    def adapter(self, *more):
        out = self.folder / "out"
        data = self.write("d.jsonl", CHAT * 8)
        self.check(run("finetune", "--model", self.model, "--data", data, "--output", out, "--overwrite", "--steps", 30, "--lr", "1e-2", *more), 0)
        return out

    def test_answers_a_prompt_the_same_every_time(self):
        first = self.chat("--prompt", "Hi")
        self.check(first, 0)
        self.assertTrue(first.stdout.strip())
        self.assertEqual(first.stdout, self.chat("--prompt", "Hi").stdout)

    def test_a_seed_chooses_the_sample(self):
        say = lambda seed: self.chat("--prompt", "Hi", "--temperature", 1.5, "--top-k", 50, "--top-p", 0.95, "--seed", seed).stdout
        self.assertEqual(say(1), say(1))
        self.assertNotEqual(say(1), say(2))

    def test_reads_messages_until_the_input_ends(self):
        done = self.chat(stdin="Hi\n\nthe\n")
        self.check(done, 0)
        self.assertEqual(done.stdout.count("> "), 4)

    def test_a_tuned_model_says_what_it_learned(self):
        out = self.adapter()
        done = self.chat("--prompt", "Hi", "--adapter", out)
        self.check(done, 0, "the thin")
        self.assertNotIn("the thin", self.chat("--prompt", "Hi").stdout)
        self.assertEqual(done.stderr, "")

    def test_takes_the_format_from_the_adapter_and_warns_of_another_model(self):
        out = self.adapter("--format", "int4", "--block-size", 32, "--targets", "attention")
        settings = json.loads((out / "qlora.json").read_text())
        self.assertEqual(self.chat("--prompt", "Hi", "--adapter", out).stdout,
                         self.chat("--prompt", "Hi", "--adapter", out, "--format", "int4", "--block-size", 32).stdout)
        settings["model_sha256"] = "0" * 64
        (out / "qlora.json").write_text(json.dumps(settings))
        done = self.chat("--prompt", "Hi", "--adapter", out)
        self.check(done, 0)
        self.assertIn("warning", done.stderr)

    def test_bad_input_is_1_and_wrong_usage_2(self):
        self.check(self.chat("--prompt", "Hi", "--adapter", self.folder / "no"), 1, "adapter_config.json")
        self.check(self.chat("--prompt", "x" * 600), 1, "context")
        self.check(run("chat", "--model", self.folder / "no.gguf"), 1, "no.gguf")
        self.check(self.chat("--top-p", 2), 2, "--top-p")
        self.check(run("chat"), 2, "--model")
        out = self.adapter("--rank", 2)
        (out / "adapter_model.safetensors").write_bytes(b"short")
        self.check(self.chat("--prompt", "Hi", "--adapter", out), 1, "adapter_model.safetensors")
        (out / "qlora.json").write_text('{"format": 7}')
        self.check(self.chat("--prompt", "Hi", "--adapter", out), 1, "qlora.json")


if __name__ == "__main__":
    unittest.main()
