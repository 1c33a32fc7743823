"""The main job in small on the real model and text: fine-tune some steps, measure, chat."""
import csv
import os
import pathlib
import re
import sys
import tempfile
import unittest

from support import run

model, text = os.environ["QLORA_TEST_MODEL"], os.environ["QLORA_TEST_TEXT"]


class EndToEnd(unittest.TestCase):
    def test_a_few_steps_lower_the_loss_and_the_perplexity(self):
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            part = folder / "part.txt"
            part.write_bytes(pathlib.Path(text).read_bytes()[100_000:112_000])
            out = folder / "out"
            done = run("finetune", "--model", model, "--data", part, "--output", out, "--steps", 8, "--batch", 2, "--seq-len",
                       128, "--lr", "1e-3", "--seed", 1)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("trainable parameters 4884480", done.stdout)
            with open(out / "metrics.csv") as file:
                losses = [float(row["loss"]) for row in csv.DictReader(file)]
            self.assertEqual(len(losses), 8)
            self.assertLess(sum(losses[-3:]), sum(losses[:3]) - 0.3)
            values = []
            for adapter in ([], ["--adapter", out]):
                done = run("perplexity", "--model", model, "--text", part, "--seq-len", 128, *adapter)
                self.assertEqual(done.returncode, 0, done.stderr)
                values.append(float(re.search(r"perplexity (\S+) tokens \d+\n$", done.stdout)[1]))
            self.assertLess(values[1], values[0] * 0.8)
            done = run("chat", "--model", model, "--adapter", out, "--prompt", "What is a hacker?", "--max-tokens", 16)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertTrue(done.stdout.strip())


if __name__ == "__main__":
    if not pathlib.Path(model).exists() or not pathlib.Path(text).exists():
        print("skipped: the model or the text is not there; tests/run.sh downloads them")
        sys.exit(77)
    unittest.main()
