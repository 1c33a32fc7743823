"""elo: the paper's judgements where they are, small folders everywhere."""
import json
import unittest

from support import ProgramTest, run, shared_data

# Measured over 20,000 orders by an independent program, standard error 0.3.
EXPECTED = {"gpt4": 1375.4, "65b-guanaco": 1021.8, "30b-guanaco": 989.7, "vicuna-13b": 971.2, "gpt35": 962.9,
            "13b-guanaco": 910.6, "bard": 896.1, "7b-guanaco": 872.3}


class Elo(ProgramTest):
    def judge(self, first, second, *scores):
        self.write(f"{first}-vs-{second}-gpt4-reviewer.jsonl",
                   "".join(json.dumps({"question_id": i + 1, "score": score}) + "\n" for i, score in enumerate(scores)))

    def table(self, done):
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0].split(), ["system", "rating", "spread", "matches"])
        rows = lines[1:lines.index("")]
        return {name: (float(rating), float(spread), int(matches))
                for name, rating, spread, matches in map(str.split, rows)}

    def test_a_small_tournament(self):
        self.judge("a", "b", 1, 1, 3)
        self.judge("b", "a", 2, 1, 3)
        self.judge("c", "a", 2, 2, 1)
        done = run("elo", self.folder, "--orders", 100, "--json", self.folder / "out.json")
        self.check(done, 0, "the judge against itself", "3 pairs in both orders")
        rows = self.table(done)
        self.assertEqual(list(rows)[0], "a")
        self.assertEqual(rows["a"][2], 9)
        self.assertEqual(rows["c"][2], 3)
        everything = json.loads((self.folder / "out.json").read_text())
        self.assertEqual(everything["matches"], 9)
        self.assertEqual(everything["self_agreement"]["same"], 2)
        self.assertEqual(everything["order_bias"]["first_shown_wins"], 4)
        self.assertEqual(run("elo", self.folder, "--orders", 100).stdout.splitlines()[:4], done.stdout.splitlines()[:4])

    def test_files_for_machines_and_people(self):
        self.judge("a", "b", 1, 2)
        self.check(run("elo", self.folder, "--orders", 10, "--output", self.folder / "out"), 0)
        names = {path.name for path in (self.folder / "out").iterdir()}
        self.assertLessEqual({"elo.json", "elo.csv"}, names)
        self.assertTrue((self.folder / "out/elo.csv").read_text().startswith("system,rating,spread,matches\n"))

    def test_what_is_left_out_is_named(self):
        self.judge("a", "b", 1, 2, 9, -1)
        self.judge("c", "a", -1)
        self.write("b-vs-a-gpt4-reviewer.jsonl", '{"question_id": 1, "score": 2}\n{"quest')
        self.write("notes.txt", "hello")
        done = run("elo", self.folder, "--orders", 10)
        self.assertEqual(done.returncode, 0, done.stderr)
        for part in ("files left out", "notes.txt", "1 broken lines", "b-vs-a-gpt4-reviewer.jsonl:2", "found 9",
                     "1 systems without a match", "c"):
            self.assertIn(part, done.stderr)
        self.assertEqual(self.table(done)["c"], (1000, 0, 0))

    def test_bad_input_is_1_and_wrong_usage_2(self):
        self.check(run("elo", self.folder / "none"), 1, "none")
        self.check(run("elo", self.folder), 1, "A-vs-B")
        self.judge("a", "a", 1)
        self.check(run("elo", self.folder), 1, "A-vs-B")
        self.judge("a", "b", 1)
        self.check(run("elo", self.folder, "--cancel-order-bias"), 1, "both orders")
        self.check(run("elo"), 2, "folder")
        self.check(run("elo", self.folder, "--orders", 0), 2, "--orders")

    def test_the_papers_judgements(self):
        data = shared_data(self) / "qlora-ratings"
        done = run("elo", data / "pairwise", "--relative", data / "relative-gpt-3.5",
                   "--questions", data / "vicuna_questions.jsonl")
        self.check(done, 0, "the first shown wins 2512, the second 1355", "2227 pairs in both orders: same verdict 61.4 %",
                   "Cohen kappa 0.386", "Fleiss kappa 0.352", "both times in 437, the second in 19",
                   "Kendall tau 0.714, Spearman rho 0.833", "category coding")
        rows = self.table(done)
        self.assertEqual(list(rows), list(EXPECTED))
        for name, rating in EXPECTED.items():
            self.assertLess(abs(rows[name][0] - rating), 2, name)

    def test_the_papers_table_comes_with_a_smaller_k(self):
        data = shared_data(self) / "qlora-ratings"
        paper = {"gpt4": 1348, "65b-guanaco": 1022, "30b-guanaco": 992, "vicuna-13b": 974, "gpt35": 966,
                 "13b-guanaco": 916, "bard": 902, "7b-guanaco": 879}
        rows = self.table(run("elo", data / "pairwise", "--k", 4))
        for name, rating in paper.items():
            self.assertLess(abs(rows[name][0] - rating), 5, name)


if __name__ == "__main__":
    unittest.main()
