"""datatype_study on a tiny model."""
import csv
import json
import unittest

from support import ProgramTest, run


class DatatypeStudy(ProgramTest):
    def study(self, *more):
        text = self.write("t.txt", "the thin hat in the inn, 12 of them; " * 40)
        return run("datatype_study", "--model", self.model, "--text", text, "--seq-len", 64, "--windows", 4, "--output",
                   self.folder / "out", *more)

    def test_errors_perplexity_and_normality(self):
        done = self.study("--formats", "float,nf4,nf4:128,nf3,int4", "--steps", 2, "--batch", 2)
        self.check(done, 0, "a normal distribution is refused")
        rows = {row["format"]: row for row in csv.DictReader((self.folder / "out/datatypes.csv").read_text().splitlines())}
        self.assertEqual(list(rows), ["float", "nf4", "nf4:128", "nf3", "int4"])
        error = {name: float(row["mean_squared_error"]) for name, row in rows.items() if name != "float"}
        self.assertLess(error["nf4"], error["nf4:128"])
        self.assertLess(error["nf4:128"], error["nf3"])
        self.assertEqual(float(rows["nf4"]["bits"]), 4.5)
        self.assertEqual(rows["float"]["snr_db"], "")
        for row in rows.values():
            self.assertLess(1, float(row["perplexity"]))
            self.assertNotEqual(row["perplexity"], row["tuned_perplexity"])
        normality = list(csv.DictReader((self.folder / "out/normality.csv").read_text().splitlines()))
        self.assertEqual(len(normality), 14)

    def test_a_second_run_measures_only_what_is_missing(self):
        self.check(self.study("--formats", "nf4"), 0)
        path = self.folder / "out/datatypes.json"
        first = json.loads(path.read_text())
        first["formats"][0]["perplexity"] = 7.5
        path.write_text(json.dumps(first))
        self.check(self.study("--formats", "nf4,fp4"), 0)
        self.assertEqual(json.loads(path.read_text())["formats"][0]["perplexity"], 7.5)
        self.check(self.study("--formats", "nf4", "--seed", 1), 1, "--overwrite")  # other settings
        self.check(self.study("--formats", "nf4", "--seed", 1, "--overwrite"), 0)  # all anew
        self.assertNotEqual(json.loads(path.read_text())["formats"][0]["perplexity"], 7.5)

    def test_bad_input_is_1_and_wrong_usage_2(self):
        self.check(self.study("--formats", "nf5"), 1, "nf5")
        self.check(self.study("--formats", "nf4:x"), 1, "nf4:x")
        self.check(self.study("--formats", "nf4:48"), 1, "48")
        self.check(self.study("--formats", "q4_0:64"), 1, "q4_0")
        self.check(self.study("--weights", self.folder / "no.safetensors"), 1, "no.safetensors")
        self.check(run("datatype_study", "--model", self.model), 2, "--text")


if __name__ == "__main__":
    unittest.main()
