"""relative: the paper's points where they are, small folders everywhere."""
import json
import unittest

from support import ProgramTest, run, shared_data

# The paper's table 6, both orders together.
EXPECTED = {"bard": 94.8, "vicuna-13b": 94.9, "65b-guanaco": 99.3, "30b-guanaco": 97.8, "7b-guanaco": 87.0, "gpt4": 114.5}


class Relative(ProgramTest):
    def table(self, done):
        lines = done.stdout.splitlines()
        return {row.split()[0]: row.split()[1:] for row in lines[1:lines.index("")]}

    def test_a_small_folder(self):
        self.write("a-vs-ref-gpt4-reviewer.jsonl", '{"question_id": 1, "score": [8, 10]}\n{"question_id": 2, "score": -1}\n')
        self.write("ref-vs-a-gpt4-reviewer.jsonl", '{"question_id": 1, "score": [10, 9]}\n')
        done = run("relative", self.folder, "--reference", "ref", "--output", self.folder / "out")
        self.check(done, 0, "percent of the points of ref", "1 not parsed")
        self.assertEqual(self.table(done)["a"], ["85.0", "85.0", "85.0", "80.0", "90.0", "2", "1"])
        self.assertEqual(json.loads((self.folder / "out/relative.json").read_text())["relative"][0]["percent"], 85.0)

    def test_bad_input_is_1_and_wrong_usage_2(self):
        self.check(run("relative", self.folder / "none"), 1, "none")
        self.write("a-vs-b-gpt4-reviewer.jsonl", '{"question_id": 1, "score": [8, 10]}\n')
        self.check(run("relative", self.folder), 1, "name the reference")
        self.check(run("relative", self.folder, "--swapped", "("), 1, "'('")
        self.check(run("relative"), 2, "folder")

    def test_the_papers_points(self):
        data = shared_data(self) / "qlora-ratings/relative-gpt-3.5"
        done = run("relative", data)
        self.check(done, 0, "percent of the points of gpt-3.5", "66 files were taken in the opposite order")
        rows = self.table(done)
        for name, percent in EXPECTED.items():
            self.assertAlmostEqual(float(rows[name][0]), percent, delta=0.051, msg=name)
        self.assertEqual(rows["gpt4"][3:], ["119.4", "110.1", "154", "77"])


if __name__ == "__main__":
    unittest.main()
