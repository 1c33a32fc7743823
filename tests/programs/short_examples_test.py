"""The short examples that people copy run, and show what they say."""
import re
import unittest

from support import CHAT, ProgramTest, run


class ShortExamples(ProgramTest):
    def test_quickstart_matrix_prints_bits_and_errors_that_shrink_with_the_bits(self):
        done = run("quickstart_matrix")
        self.check(done, 0, "NF4", "double quantization", "my own ternary")
        errors = [float(x) for x in re.findall(r"relative error (\S+)", done.stdout)]
        self.assertEqual(len(errors), 5)
        self.assertTrue(all(0 < error < 0.2 for error in errors[:4]) and errors[4] < 0.6, errors)

    def test_custom_datatype_prints_bits_and_ratios_beside_nf4(self):
        done = run("custom_datatype")
        self.check(done, 0, "NF4", "my values")
        rows = re.findall(r"(\d\.\d+) bits a weight +signal to noise (\S+) dB", done.stdout)
        self.assertEqual(len(rows), 4)
        self.assertTrue(all(float(bits) <= 4.5 and 15 < float(ratio) < 30 for bits, ratio in rows), rows)

    def test_paged_loop_learns_with_more_state_than_its_budget(self):
        done = run("paged_loop", self.folder)
        self.check(done, 0)
        errors = [float(x) for x in re.findall(r"squared error (\S+)", done.stdout)]
        self.assertEqual(len(errors), 4)
        self.assertLess(errors[-1], errors[0] / 10)
        state, resident = map(int, re.search(r"state (\d+) bytes, resident (\d+),", done.stdout).groups())
        self.assertLessEqual(resident, 96 << 10)
        self.assertGreater(state, resident)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), ["tiny.gguf"])
        self.check(run("paged_loop", self.folder / "missing"), 1, "missing")

    def test_elo_ratings_rates_made_up_systems_and_compares_two_judges(self):
        done = run("elo_ratings")
        self.check(done, 0)
        ratings = [float(x) for x in re.findall(r"(\S+) \+- ", done.stdout)]
        self.assertEqual(len(ratings), 3)
        self.assertAlmostEqual(sum(ratings), 3000, delta=0.2)  # rounded to a tenth each
        score = '{"question_id": %d, "score": %d}\n'
        for judge, scores in (("first", [1, 1, 2]), ("second", [2, 2, 1])):
            (self.folder / judge).mkdir()
            for pair, verdict in zip(("a-vs-b", "b-vs-c", "c-vs-a"), scores):
                self.write(f"{judge}/{pair}-gpt4-reviewer.jsonl", score % (1, verdict))
        self.check(run("elo_ratings", self.folder / "first", self.folder / "second"), 0, "3 systems in both, Kendall tau -1.000")
        self.check(run("elo_ratings", self.folder / "none"), 1, "none")

    def test_hello_finetune_saves_an_adapter_that_chat_turn_answers_with(self):
        out = self.folder / "out"
        done = run("hello_finetune", self.model, self.write("d.jsonl", CHAT * 8), out)
        self.check(done, 0)
        losses = [float(x) for x in re.findall(r"loss (\S+)", done.stdout)]
        self.assertEqual(len(losses), 30)
        self.assertLess(losses[-1], losses[0])
        plain, tuned = run("chat_turn", self.model, "Hi"), run("chat_turn", self.model, "Hi", out)
        self.check(plain, 0)
        self.check(tuned, 0)
        self.assertEqual(tuned.stdout, run("chat", "--model", self.model, "--format", "nf4-dq", "--adapter", out, "--prompt", "Hi",
                                           "--max-tokens", 80).stdout)
        self.check(run("chat_turn", self.model, "Hi", self.folder / "none"), 1, "adapter_config.json")
        self.check(run("hello_finetune", self.model, self.folder / "none.jsonl", out), 1, "none.jsonl")
        self.check(run("hello_finetune"), 2, "hello_finetune MODEL")

    def test_adapter_file_gives_the_same_logits_after_loading(self):
        done = run("adapter_file", self.model, self.folder / "out")
        self.check(done, 0, "rank 8, ", "differ after loading by 0\n")
        self.assertGreater(float(re.search(r"moved by (\S+),", done.stdout)[1]), 0)
        self.assertTrue((self.folder / "out/adapter_model.safetensors").is_file())


if __name__ == "__main__":
    unittest.main()
