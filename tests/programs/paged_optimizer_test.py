"""paged_optimizer on a small state: resident memory stays low, the picture and the numbers are there, the bits are those of plain memory."""
import csv
import os
import pathlib
import tempfile
import unittest

from support import ProgramTest, run


class PagedOptimizer(ProgramTest):
    def test_runs_within_the_budget_to_the_bits_of_plain_memory(self):
        for optimizer in ("adamw", "adamw8bit"):
            with tempfile.TemporaryDirectory() as folder:
                done = run("paged_optimizer", "--directory", folder, "--state", "96MiB", "--budget", "4MiB", "--steps", 3, "--check",
                           "--optimizer", optimizer)
                self.check(done, 0, "step 3/3", "the same bits as in plain memory", "budget 4 MiB")
                rows = list(csv.DictReader(pathlib.Path(folder, "paged.csv").read_text().splitlines()))
                self.assertTrue(rows and float(rows[0]["resident_mib"]) > 1)
                self.assertLessEqual(set(os.listdir(folder)), {"paged.csv", "paged.png"})

    def test_bad_input_is_named(self):
        self.check(run("paged_optimizer", "--directory", "/proc/none"), 1, "error")
        self.check(run("paged_optimizer", "--optimizer", "adamax"), 2)
        self.check(run("paged_optimizer", "--budget", "12"), 2)


if __name__ == "__main__":
    unittest.main()
