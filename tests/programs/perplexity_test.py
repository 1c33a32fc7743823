"""perplexity on a tiny model."""
import math
import re
import unittest

from support import ProgramTest, run


class Perplexity(ProgramTest):
    def measure(self, text, *more):
        done = run("perplexity", "--model", self.model, "--text", text, *more)
        self.check(done, 0)
        match = re.fullmatch(r"perplexity (\S+) tokens (\d+)", done.stdout.strip().splitlines()[-1])
        self.assertIsNotNone(match, done.stdout)
        return float(match[1]), int(match[2])

    def test_counts_whole_windows_less_their_first_tokens(self):
        text = self.write("t.txt", "abcdefghij" * 10)
        value, tokens = self.measure(text, "--seq-len", 16)
        self.assertEqual(tokens, 100 // 16 * 15)
        self.assertTrue(1 < value < 1e6 and math.isfinite(value))
        self.assertEqual(self.measure(text, "--seq-len", 16), (value, tokens))

    def test_formats_differ_and_float_is_one_of_them(self):
        text = self.write("t.txt", "the thin hat in the inn " * 10)
        values = {name: self.measure(text, "--seq-len", 32, "--format", name)[0]
                  for name in ("float", "nf4-dq", "nf4", "fp4", "int4")}
        self.assertEqual(len(set(values.values())), 5, values)

    def test_bad_input_is_1_and_wrong_usage_2(self):
        measure = lambda *more: run("perplexity", "--model", self.model, *more)
        self.check(measure("--text", self.write("s.txt", "short"), "--seq-len", 600), 1, "--seq-len 600", "is 512")
        self.check(measure("--text", self.write("s.txt", "short"), "--seq-len", 32), 1, "s.txt", "found 5")
        self.check(measure("--text", self.folder / "no.txt", "--seq-len", 32), 1, "no.txt")
        self.check(measure(), 2, "--text")
        self.check(measure("--text", self.model, "--format", "nf5"), 2, "--format")


if __name__ == "__main__":
    unittest.main()
