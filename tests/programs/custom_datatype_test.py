"""A data type and a scale of one's own, in a screenful."""
import pathlib
import re
import unittest

from support import ProgramTest, run


class CustomDatatype(ProgramTest):
    def test_prints_bits_and_ratios_beside_nf4(self):
        done = run("custom_datatype")
        self.check(done, 0, "NF4", "my values")
        rows = re.findall(r"(\d\.\d+) bits a weight +signal to noise (\S+) dB", done.stdout)
        self.assertEqual(len(rows), 4)
        self.assertTrue(all(float(bits) <= 4.5 and 15 < float(ratio) < 30 for bits, ratio in rows), rows)

    def test_fits_a_screen_or_so(self):
        source = pathlib.Path(__file__).parents[2] / "examples/custom_datatype.cpp"
        self.assertLessEqual(len(source.read_text().splitlines()), 80)


if __name__ == "__main__":
    unittest.main()
