"""What programs write is there whole or not at all: earlier outputs, full disks, a standard output that can't be written."""
import json
import resource
import shutil
import subprocess
import unittest

from support import CHAT, ProgramTest, examples, run

PROGRAMS = ["finetune", "chat", "perplexity", "evaluate", "quantize", "memory_report", "datatype_study", "elo", "relative",
            "paged_optimizer"]


class Output(ProgramTest):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out"
        self.data = self.write("d.jsonl", CHAT * 8)
        self.text = self.write("t.txt", "the thin hat in the inn, 12 of them; " * 40)

    def finetune(self, *more, **limits):
        return self.run_limited("finetune", "--model", self.model, "--data", self.data, "--output", self.out, "--steps", 2,
                                *more, **limits)

    def run_limited(self, program, *arguments, file_bytes=None, stdout=subprocess.PIPE):
        limit = None if file_bytes is None else (lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes)))
        return subprocess.run([examples / program, *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=stdout,
                              stderr=subprocess.PIPE, text=True, errors="replace", timeout=600, preexec_fn=limit)

    def names(self):
        """Everything in the test's folder but its inputs."""
        return {path.name for path in self.folder.iterdir()} - {"tiny.gguf", "d.jsonl", "t.txt"}

    def test_a_folder_that_holds_files_is_refused_and_left_as_it_is(self):
        self.out.mkdir()
        (self.out / "loss.png").write_text("of another run")
        done = self.finetune()
        self.check(done, 1, "out: expected a new or empty folder", "--overwrite")
        self.assertEqual([path.name for path in self.out.iterdir()], ["loss.png"])
        self.assertEqual(self.names(), {"out"})

    def test_overwrite_replaces_the_folder_whole(self):
        self.check(self.finetune(), 0)
        first = (self.out / "adapter_model.safetensors").read_bytes()
        (self.out / "checkpoint.bin").write_text("old")
        self.check(self.finetune("--seed", 7, "--overwrite"), 0)
        self.assertFalse((self.out / "checkpoint.bin").exists())
        self.assertNotEqual((self.out / "adapter_model.safetensors").read_bytes(), first)
        self.assertEqual(self.names(), {"out"})

    def test_a_run_that_fails_leaves_the_earlier_output(self):
        self.check(self.finetune(), 0)
        before = {path.name: path.read_bytes() for path in self.out.iterdir()}
        self.check(self.finetune("--overwrite", "--lr", "1e30"), 1, "finite")
        self.check(self.finetune("--overwrite", "--seq-len", 513), 1, "--seq-len 513")
        self.assertEqual({path.name: path.read_bytes() for path in self.out.iterdir()}, before)
        self.assertEqual(self.names(), {"out"})

    def test_overwrite_never_removes_an_input_or_the_current_folder(self):
        inside = self.folder / "data"
        inside.mkdir()
        data = inside / "d.jsonl"
        data.write_text(CHAT * 8)
        arguments = ["--model", self.model, "--data", data, "--steps", 1, "--overwrite"]
        self.check(run("finetune", *arguments, "--output", inside), 1, "--overwrite would remove", "d.jsonl")
        done = subprocess.run([examples / "finetune", *map(str, arguments), "--output", "."], cwd=self.folder, capture_output=True,
                              text=True)
        self.check(done, 1, "the current folder")
        self.assertTrue(data.exists())
        self.assertTrue(self.model.exists())

    def test_parents_are_made_and_go_again_when_the_run_fails(self):
        self.out = self.folder / "a" / "b" / "out"
        self.check(self.finetune("--seq-len", 513), 1)
        self.assertEqual(self.names(), set())
        self.check(self.finetune(), 0)
        self.assertTrue((self.out / "qlora.json").exists())

    def test_reports_and_the_paged_picture_follow_the_same_rule(self):
        self.write("a-vs-b-gpt4-reviewer.jsonl", '{"question_id": 1, "score": 1}\n')
        points = self.folder / "points"
        points.mkdir()
        (points / "a-vs-b-gpt4-reviewer.jsonl").write_text('{"question_id": 1, "score": [8, 10]}\n')
        for program, *arguments in (["elo", self.folder, "--orders", 10, "--output"],
                                    ["relative", points, "--reference", "b", "--output"],
                                    ["memory_report", "--output"],
                                    ["evaluate", "--model", self.model, "--task", "perplexity", "--data", self.text, "--seq-len", 32, "--output"],
                                    ["paged_optimizer", "--state", "4MiB", "--budget", "1MiB", "--steps", 1, "--directory"]):
            folder = self.folder / ("out-" + program)
            folder.mkdir()
            (folder / "old.png").write_text("old")
            self.check(run(program, *arguments, folder), 1, "expected a new or empty folder", "--overwrite")
            self.assertEqual([path.name for path in folder.iterdir()], ["old.png"], program)
            self.check(run(program, *arguments, folder, "--overwrite"), 0)
            self.assertFalse((folder / "old.png").exists(), program)
            self.assertTrue(list(folder.glob("*.csv")), program)

    def test_another_study_is_refused_and_replaced_only_when_asked(self):
        def study(*more):
            return run("datatype_study", "--model", self.model, "--text", self.text, "--seq-len", 64, "--windows", 2, "--output",
                       self.out, "--formats", "nf4", *more)
        self.check(study(), 0)
        self.check(study("--seed", 1), 1, "expected a new or empty folder")
        self.check(study("--seed", 1, "--overwrite"), 0)
        self.assertEqual(json.loads((self.out / "datatypes.json").read_text())["settings"]["seed"], 1)

    def test_a_standard_output_that_is_full_is_an_error(self):
        self.write("a-vs-b-gpt4-reviewer.jsonl", '{"question_id": 1, "score": 1}\n')
        runs = {program: ["--help"] for program in PROGRAMS}
        runs["perplexity"] = ["--model", self.model, "--text", self.text, "--seq-len", 32]
        runs["chat"] = ["--model", self.model, "--prompt", "Hi", "--max-tokens", 4]
        runs["elo"] = [self.folder, "--orders", 10]
        runs["finetune"] = ["--model", self.model, "--data", self.data, "--output", self.out, "--steps", 1]
        for program, arguments in runs.items():
            with open("/dev/full", "w") as full:
                done = self.run_limited(program, *arguments, stdout=full)
            self.assertEqual(done.returncode, 1, program)
            self.assertIn("standard output: can't write", done.stderr, program)
        for program in ("quickstart_matrix", "custom_datatype"):
            with open("/dev/full", "w") as full:
                self.assertEqual(self.run_limited(program, stdout=full).returncode, 1, program)

    def test_a_disk_that_fills_up_is_an_error_and_nothing_is_left(self):
        self.check(self.finetune(), 0)
        size = {path.name: path.stat().st_size for path in self.out.iterdir()}
        shutil.rmtree(self.out)
        # One byte too few for each of the files in turn.
        for name in size:
            done = self.finetune(file_bytes=40 if name == "metrics.csv" else size[name] - 1)
            self.check(done, 1, "can't write", "File too large")
            self.assertEqual(self.names(), set(), name)

    def test_a_report_on_a_full_disk_is_an_error_and_nothing_is_left(self):
        for arguments in (["--output", self.out], ["--json", self.out]):
            done = self.run_limited("memory_report", *arguments, file_bytes=100)
            self.check(done, 1, "can't write", "File too large")
            self.assertEqual(self.names(), set())
        # Text and numbers fit, the picture does not.
        done = self.run_limited("memory_report", "--output", self.out, file_bytes=9000)
        self.check(done, 1, "memory.png", "can't write")
        self.assertEqual(self.names(), set())

    def test_a_mount_point_is_filled_by_parts(self):
        """A folder that can't be renamed: a tmpfs in a mount namespace of its own, where the machine allows one."""
        self.out.mkdir()
        inside = f'''mount -t tmpfs none "{self.out}" && echo old > "{self.out}/old.txt" &&
          "{examples}/finetune" --model "{self.model}" --data "{self.data}" --output "{self.out}" --steps 1 --overwrite >/dev/null &&
          ls "{self.out}"'''
        probe = subprocess.run(["unshare", "-rm", "sh", "-c", f'mount -t tmpfs none "{self.out}"'], capture_output=True)
        if probe.returncode != 0:
            self.skipTest("skipped: no mount namespaces here")
        done = subprocess.run(["unshare", "-rm", "sh", "-c", inside], capture_output=True, text=True)
        self.check(done, 0, "adapter_model.safetensors", "qlora.json")
        self.assertNotIn("old.txt", done.stdout)
        self.assertEqual(self.names(), {"out"})


if __name__ == "__main__":
    unittest.main()
