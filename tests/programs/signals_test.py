"""Programs when they are interrupted. finetune: the first signal saves what was learned, the second ends at once and leaves nothing.
quantize: nothing is left, and an earlier output stays."""
import fcntl
import json
import os
import signal
import subprocess
import time
import unittest

from support import CHAT, ProgramTest, examples, run


class Signals(ProgramTest):
    def setUp(self):
        super().setUp()
        self.out = self.folder / "out"
        self.data = self.write("d.jsonl", CHAT * 200)

    def start(self, *more):
        process = subprocess.Popen([examples / "finetune", *map(str, ("--model", self.model, "--data", self.data, "--output", self.out,
                                    "--steps", 1000000, *more))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        return process

    def read_until(self, process, part):
        for line in process.stdout:
            if part in line:
                return
        self.fail(process.stderr.read())

    def test_the_adapter_is_saved_and_works(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)):
            with self.subTest(number.name):
                self.out = self.folder / number.name
                process = self.start()
                self.read_until(process, "step 3/")
                process.send_signal(number)
                said, complained = process.communicate(timeout=300)
                self.assertEqual(process.returncode, code, complained)
                self.assertIn(number.name, complained)
                self.assertIn("a second signal ends at once", complained)
                self.assertIn(f"{self.out} holds the adapter after step", said)
                done = json.loads((self.out / "qlora.json").read_text())["steps_done"]
                rows = (self.out / "metrics.csv").read_text().splitlines()
                self.assertEqual(len(rows), 1 + done)
                self.assertGreaterEqual(done, 3)
                self.check(run("chat", "--model", self.model, "--adapter", self.out, "--prompt", "Hi", "--max-tokens", 4), 0)

    def test_a_second_signal_ends_at_once_and_leaves_nothing(self):
        process = self.start("--batch", 200, "--seq-len", 512)  # a step takes long beside a signal
        self.read_until(process, "step 1/")
        process.send_signal(signal.SIGSTOP)
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        process.communicate(timeout=300)
        self.assertEqual(process.returncode, 143)
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"tiny.gguf", "d.jsonl"})

    def test_before_the_first_step_there_is_nothing_to_save(self):
        held_out = self.write("h.jsonl", CHAT * 30000)
        process = self.start("--eval-data", held_out)
        self.read_until(process, "trainable parameters")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=300)
        self.assertEqual(process.returncode, 130)
        self.assertFalse(self.out.exists())

    def test_the_earlier_output_stays_when_the_new_run_is_ended_at_once(self):
        self.out.mkdir()
        (self.out / "qlora.json").write_text("{}")
        process = self.start("--overwrite", "--eval-data", self.write("h.jsonl", CHAT * 30000))
        self.read_until(process, "trainable parameters")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)
        self.assertEqual(process.returncode, 143)
        self.assertEqual((self.out / "qlora.json").read_text(), "{}")
        self.assertEqual({path.name for path in self.folder.iterdir()}, {"tiny.gguf", "d.jsonl", "h.jsonl", "out"})

    def test_a_reader_that_goes_away_does_not_end_the_run(self):
        arguments = [examples / "finetune", "--model", self.model, "--data", self.data, "--output", self.out, "--steps", "5"]
        process = subprocess.Popen([*map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        process.stdout.close()
        complained = process.stderr.read()
        process.stderr.close()
        self.assertEqual(process.wait(timeout=300), 1)
        self.assertIn("standard output: can't write", complained)
        self.assertEqual(json.loads((self.out / "qlora.json").read_text())["steps_done"], 5)

    def test_a_report_that_is_ended_leaves_nothing(self):
        self.write("a-vs-b-gpt4-reviewer.jsonl", '{"question_id": 1, "score": 1}\n' * 1000)
        process = subprocess.Popen([*map(str, (examples / "elo", self.folder, "--orders", 10 ** 6, "--output", self.out))],
                                   stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        process.stderr.readline()  # that judgements come again: the folder is open
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=300)
        self.assertEqual(process.returncode, 143)
        self.assertEqual([path.name for path in self.folder.iterdir() if path.name.startswith("out")], [])


class Quantize(ProgramTest):
    def setUp(self):
        super().setUp()
        self.inputs = {path.name for path in self.folder.iterdir()}

    def left(self):
        return {path.name for path in self.folder.iterdir()} - self.inputs

    def held(self, target, *more):
        """A run that has begun to write and can't go on: its standard output is a pipe that is all but full. And the pipe's other end."""
        here, there = os.pipe()
        self.addCleanup(os.close, here)
        fcntl.fcntl(there, fcntl.F_SETPIPE_SZ, 4096)
        os.write(there, b"." * 4032)
        process = subprocess.Popen([*map(str, (examples / "quantize", self.model, self.folder / target, *more))], stdout=there,
                                   stderr=subprocess.PIPE, text=True)
        os.close(there)
        self.addCleanup(process.kill)
        end = time.monotonic() + 120
        while not any(name.startswith(target + ".partial-") for name in self.left()):
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), end)
            time.sleep(0.01)
        return process, here

    def test_one_signal_or_two_leave_nothing(self):
        for target, form in (("out", "nf4"), ("out.safetensors", "nf4"), ("out.gguf", "q4_0")):
            for numbers in ((signal.SIGINT,), (signal.SIGTERM, signal.SIGINT)):
                with self.subTest(target=target, numbers=numbers):
                    process, pipe = self.held(target, "--format", form, "--report", self.folder / "r.csv")
                    process.send_signal(numbers[0])
                    while "a second signal ends at once" not in process.stderr.readline():
                        self.assertIsNone(process.poll())
                    for number in numbers[1:]:
                        process.send_signal(number)
                        process.wait(timeout=120)
                    said = b""
                    while part := os.read(pipe, 65536):
                        said += part
                    self.assertEqual(process.wait(timeout=120), 128 + numbers[-1])
                    process.stderr.close()
                    self.assertEqual(self.left(), set())
                    if len(numbers) == 1:
                        self.assertIn(f"stopped by {numbers[0].name}; {self.folder / target} is as it was".encode(), said)

    def test_the_earlier_output_stays(self):
        out = self.folder / "out"
        out.mkdir()
        (out / "config.json").write_text("{}")
        process, pipe = self.held("out", "--format", "nf4", "--overwrite")
        process.send_signal(signal.SIGINT)
        while "a second signal ends at once" not in process.stderr.readline():
            self.assertIsNone(process.poll())
        while os.read(pipe, 65536):
            pass
        self.assertEqual(process.wait(timeout=120), 130)
        process.stderr.close()
        self.assertEqual(self.left(), {"out"})
        self.assertEqual((out / "config.json").read_text(), "{}")


if __name__ == "__main__":
    unittest.main()
