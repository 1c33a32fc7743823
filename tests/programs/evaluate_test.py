"""evaluate on a tiny model."""
import json
import math
import unittest

from support import CHAT, ProgramTest, run

QUESTIONS = '''{"prompt": "a", "choices": ["b", "c"], "answer": 0}
{"prompt": "the inn", "choices": ["b", "c", "the thin"], "answer": "the thin"}
'''
MMLU = '''{"subject": "s", "input": "About s.\\n\\nq\\nA. 1\\nB. 2\\nC. 3\\nD. 4\\nAnswer:", "output": "B"}
{"subject": "s", "input": "About s.\\n\\nr\\nA. 1\\nB. 2\\nC. 3\\nD. 4\\nAnswer:", "output": "A"}
{"subject": "t", "input": "About t.\\n\\nr\\nA. 1\\nB. 2\\nC. 3\\nD. 4\\nAnswer:", "output": "D"}
'''


class Evaluate(ProgramTest):
    def evaluate(self, *more):
        return run("evaluate", "--model", self.model, *more)

    def result(self, *more):
        done = self.evaluate(*more, "--json", self.folder / "result.json")
        self.check(done, 0)
        return done, json.loads((self.folder / "result.json").read_text())

    def test_perplexity_is_that_of_the_other_program(self):
        text = self.write("t.txt", "the thin hat in the inn " * 10)
        done, result = self.result("--task", "perplexity", "--data", text, "--seq-len", 32)
        other = run("perplexity", "--model", self.model, "--text", text, "--seq-len", 32).stdout.split()
        self.assertAlmostEqual(result["perplexity"], float(other[1]), delta=1e-3 * result["perplexity"])
        self.assertEqual(result["tokens"], int(other[3]))
        self.assertEqual(done.stdout.splitlines()[0].split(), ["of_a", "count", "perplexity", "bits"])
        self.assertAlmostEqual(result["bits_per_byte"], math.log2(result["byte_perplexity"]))
        _, sliding = self.result("--task", "perplexity", "--data", text, "--seq-len", 32, "--stride", 8, "--output",
                                 self.folder / "out")
        self.assertEqual(len((self.folder / "out/evaluation-drawn.csv").read_text().splitlines()),
                         1 + len(sliding["windows"]))
        self.assertAlmostEqual(sliding["windows"][-1]["so_far"], sliding["perplexity"])
        self.assertGreater(sliding["tokens"], result["tokens"])

    def test_questions_of_ones_own(self):
        done, result = self.result("--task", self.write("q.jsonl", QUESTIONS + "{broken\n"))
        self.assertIn("q.jsonl:3", done.stderr)
        self.assertEqual((result["questions"], len(result["each"]), len(result["broken_lines"])), (2, 2, 1))
        right = sum(each["answer"] == each["chosen"] for each in result["each"])
        self.assertEqual(result["acc"], right / 2)
        for each in result["each"]:
            self.assertEqual(max(each["log_likelihood"]), each["log_likelihood"][each["chosen"]])

    def test_mmlu_by_subject_with_shots_and_files(self):
        data = self.write("mmlu.json", MMLU)
        done, result = self.result("--task", "mmlu", "--data", data, "--shots", 1, "--output", self.folder / "out")
        self.assertEqual([row["subject"] for row in result["subjects"]], ["s", "t", "all"])
        self.assertIn("1 questions have fewer others", done.stderr)
        names = {path.name for path in (self.folder / "out").iterdir()}
        self.assertLessEqual({"evaluation.json", "evaluation.csv"}, names)
        _, some = self.result("--task", "mmlu", "--data", data, "--limit", 2)
        self.assertEqual(some["questions"], 2)

    def test_answers_side_by_side(self):
        data = self.write("asked.jsonl", CHAT)
        self.check(run("finetune", "--model", self.model, "--data", data, "--output", self.folder / "a", "--steps", 2,
                       "--seq-len", 64), 0)
        done, result = self.result("--task", "generation", "--data", data, "--adapter", self.folder / "a", "--max-tokens", 8)
        self.assertIn("? Hi", done.stdout)
        self.assertEqual(set(result["answers"][0]), {"prompt", "base", "tuned"})
        _, base = self.result("--task", "generation", "--data", data, "--max-tokens", 8)
        self.assertEqual(base["answers"][0]["base"], result["answers"][0]["base"])

    def test_bad_input_is_1_and_wrong_usage_2(self):
        text = self.write("s.txt", "short")
        self.check(self.evaluate("--task", "perplexity", "--data", text, "--seq-len", 32), 1, "s.txt", "found 5")
        self.check(self.evaluate("--task", self.folder / "no.jsonl"), 1, "no.jsonl")
        self.check(self.evaluate("--task", "mmlu", "--data", text), 1, "s.txt")
        self.check(self.evaluate("--task", "mmlu"), 2, "--data")
        self.check(self.evaluate(), 2, "--task")
        self.check(self.evaluate("--task", "perplexity", "--data", text, "--seq-len", 8, "--stride", 9), 2, "--stride")


if __name__ == "__main__":
    unittest.main()
