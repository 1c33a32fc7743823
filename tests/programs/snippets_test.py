"""The programs in docs/library.md compile: each block that begins with an #include, with warnings as errors.

    snippets_test.py COMPILER EIGEN [FLAG ...]
"""
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

root = pathlib.Path(__file__).resolve().parents[2]
compiler, eigen, *flags = sys.argv[1:]


class Snippets(unittest.TestCase):
    def test_every_program_of_the_page_compiles(self):
        blocks = re.findall(r"^```cpp\n(#include.*?)^```$", (root / "docs/library.md").read_text(), re.M | re.S)
        self.assertEqual(len(blocks), 2)
        for block in blocks:
            with tempfile.NamedTemporaryFile("w", suffix=".cpp") as file:
                file.write(block)
                file.flush()
                done = subprocess.run([compiler, "-std=c++20", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", f"-I{root}/include",
                                       "-isystem", eigen, *flags, file.name], capture_output=True, text=True)
                self.assertEqual(done.returncode, 0, done.stderr[:4000])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
