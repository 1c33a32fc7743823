"""A network of one's own in 35 lines: the loss falls and the classes are learned."""
import pathlib
import re
import unittest

from support import ProgramTest, run


class Mlp(ProgramTest):
    def test_the_loss_falls_and_the_accuracy_rises(self):
        done = run("mlp")
        self.check(done, 0, "step 50  loss", "step 300  loss")
        losses = [float(x) for x in re.findall(r"loss (\S+)", done.stdout)]
        self.assertLess(losses[-1], losses[0] / 2)
        self.assertGreater(float(re.findall(r"accuracy (\S+)", done.stdout)[-1]), 0.95)

    def test_fits_35_lines_of_code(self):
        source = pathlib.Path(__file__).parents[2] / "examples/mlp.cpp"
        code = [line for line in source.read_text().splitlines() if line.strip() and not line.strip().startswith("//")]
        self.assertLessEqual(len(code), 35)


if __name__ == "__main__":
    unittest.main()
