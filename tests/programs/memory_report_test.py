"""memory_report: LLaMA's shapes, and a tiny model measured."""
import json
import unittest

from support import ProgramTest, run


class MemoryReport(ProgramTest):
    def test_llamas_shapes(self):
        done = run("memory_report", "--output", self.folder / "out")
        self.check(done, 0, "double quantization of nf4 saves 0.373", "65b: less than 48 GiB")
        lines = done.stdout.splitlines()
        self.assertEqual(lines[0].split(), ["gib", "7b", "13b", "33b", "65b"])
        parts = {row.split()[0]: list(map(float, row.split()[1:])) for row in lines[1:lines.index("")]}
        for column in range(4):
            self.assertAlmostEqual(sum(parts[name][column] for name in parts if name != "total"), parts["total"][column],
                                   delta=0.01)
        result = json.loads((self.folder / "out/memory.json").read_text())
        self.assertAlmostEqual(result["double_quantization_saves_bits"], 0.373, delta=1e-3)
        self.assertTrue((self.folder / "out/memory.csv").read_text().startswith("model,codes,"))

    def test_a_model_is_measured(self):
        done = run("memory_report", "--model", self.model, "--seq-len", 64, "--format", "nf4", "--json", self.folder / "m.json")
        self.check(done, 0, "computed_mib", "measured_mib", "tiny.gguf: less than 48 GiB")
        rows = {row["what"]: row for row in json.loads((self.folder / "m.json").read_text())["measured"]}
        packed = rows["packed_projections"]
        self.assertAlmostEqual(packed["computed_mib"], packed["measured_mib"], delta=0.01 * packed["measured_mib"])

    def test_bad_input_is_1_and_wrong_usage_2(self):
        self.check(run("memory_report", "--model", self.folder / "no.gguf"), 1, "no.gguf")
        self.check(run("memory_report", "--model", self.model, "--seq-len", 600), 1, "--seq-len 600")
        self.check(run("memory_report", "--shape", "8b"), 2, "--shape")
        self.check(run("memory_report", "--shape", "7b", "--model", self.model), 2, "--model")


if __name__ == "__main__":
    unittest.main()
