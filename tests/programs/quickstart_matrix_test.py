"""The first example people paste: it runs, and stays within forty lines."""
import pathlib
import re
import unittest

from support import ProgramTest, run


class QuickstartMatrix(ProgramTest):
    def test_prints_bits_and_errors_that_shrink_with_the_bits(self):
        done = run("quickstart_matrix")
        self.check(done, 0, "NF4", "double quantization", "my own ternary")
        errors = [float(x) for x in re.findall(r"relative error (\S+)", done.stdout)]
        self.assertEqual(len(errors), 5)
        self.assertTrue(all(0 < error < 0.2 for error in errors[:4]) and errors[4] < 0.6, errors)

    def test_fits_forty_lines(self):
        source = pathlib.Path(__file__).parents[2] / "examples/quickstart_matrix.cpp"
        self.assertLessEqual(len(source.read_text().splitlines()), 40)


if __name__ == "__main__":
    unittest.main()
