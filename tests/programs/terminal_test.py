"""What programs show: a progress line that fits its terminal, colour there only, help that can be searched, and numbers in words."""
import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import unittest

from support import CHAT, ProgramTest, examples, run

PROGRAMS = ["finetune", "chat", "perplexity", "evaluate", "quantize", "memory_report", "datatype_study", "elo", "relative",
            "paged_optimizer"]
ESCAPE = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


class Terminal:
    """A program whose output is a terminal of some width."""

    def __init__(self, columns, program, *arguments, **environment):
        self.side, other = pty.openpty()
        self.resize(columns)
        self.process = subprocess.Popen([examples / program, *map(str, arguments)], stdin=other, stdout=other, stderr=other,
                                        env={**os.environ, "TERM": "xterm", **environment})
        os.close(other)
        self.text = ""

    def resize(self, columns):
        fcntl.ioctl(self.side, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))

    def read(self, until=None):
        """Up to a part, or to the end; what came in this call."""
        before = len(self.text)
        while until is None or until not in self.text[before:]:
            try:
                part = os.read(self.side, 4096)
            except OSError:  # the program ended
                break
            if not part:
                break
            self.text += part.decode()
        return self.text[before:]

    def end(self):
        code = self.process.wait(timeout=300)
        os.close(self.side)
        return code


def drawn_lines(text):
    """What the bar drew each time: from a carriage return to the end of the line cleared, without escapes."""
    return [ESCAPE.sub("", line) for line in re.findall(r"\r([^\r\n]*?)\x1b\[K", text)]


class Shown(ProgramTest):
    def setUp(self):
        super().setUp()
        self.data = self.write("d.jsonl", CHAT * 8)
        self.count = 0

    def arguments(self, steps):
        self.count += 1
        return ["finetune", "--model", self.model, "--data", self.data, "--output", self.folder / f"out{self.count}", "--steps", steps]

    def test_the_progress_line_fits_the_terminal_at_every_width(self):
        for columns in (200, 80, 60, 45, 20, 3, 0):  # 0: it does not say, and is taken for 80
            terminal = Terminal(columns, *self.arguments(100))
            text = terminal.read()
            self.assertEqual(terminal.end(), 0, text)
            drawn = drawn_lines(text)
            self.assertEqual(len(drawn), 100, columns)
            for line in drawn:
                self.assertLess(len(line), columns or 80)
            if columns not in (60, 45):  # there it depends on how many digits the speed has
                self.assertEqual("#" in drawn[-1], columns not in (20, 3), drawn[-1])
            if columns == 200:
                self.assertRegex(drawn[-1], r"^\[#{30}\] step 100/100  loss \d+\.\d{4}  \d+ tokens/s  ETA 0:00$")

    def test_the_progress_line_follows_a_resize(self):
        terminal = Terminal(120, *self.arguments(3000))
        terminal.read(until="step 20/")
        terminal.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, terminal.process.pid, os.WSTOPPED | os.WNOWAIT)
        terminal.resize(40)
        terminal.process.send_signal(signal.SIGCONT)
        later = drawn_lines(terminal.read())
        self.assertEqual(terminal.end(), 0)
        self.assertGreater(max(map(len, drawn_lines(terminal.text))), 40)
        for line in later[-500:]:  # what the terminal held back from before is far shorter than the rest
            self.assertLess(len(line), 40, line)

    def test_colour_is_for_terminals_that_want_it(self):
        for environment, coloured in (({}, True), ({"NO_COLOR": "1"}, False), ({"NO_COLOR": ""}, True), ({"TERM": "dumb"}, False)):
            terminal = Terminal(80, *self.arguments(2), **environment)
            text = terminal.read()
            self.assertEqual(terminal.end(), 0, text)
            self.assertEqual("\x1b[32m" in text, coloured, environment)
        terminal = Terminal(80, "perplexity", "--model", "no.gguf", "--text", "t.txt")
        self.assertIn("\x1b[31merror:\x1b[0m no.gguf", terminal.read())
        self.assertEqual(terminal.end(), 1)

    def test_what_is_piped_has_plain_lines(self):
        done = run(*self.arguments(3))
        self.check(done, 0)
        self.assertNotIn("\x1b", done.stdout + done.stderr)
        self.assertNotIn("\r", done.stdout + done.stderr)
        self.assertEqual(len(re.findall(r"^step \d/3  loss .*  ETA 0:\d\d$", done.stdout, re.M)), 3)

    def test_every_program_says_its_version(self):
        versions = {run(program, "--version").stdout for program in PROGRAMS}
        for program in PROGRAMS:
            done = run(program, "--version")
            self.check(done, 0)
            self.assertRegex(done.stdout, rf"^{program} of qlora \d+\.\d+\.\d+\n$")
        self.assertEqual(len(versions), len(PROGRAMS))

    def test_every_help_is_plain_text_with_two_examples(self):
        for program in PROGRAMS:
            done = run(program, "--help")
            self.check(done, 0)
            self.assertEqual([c for c in done.stdout if not c.isprintable() and c != "\n"], [], program)
            self.assertNotRegex(done.stdout, r"\d{20}", program)
            usages = [line for line in done.stdout.split("Examples:")[1].splitlines() if line.strip().startswith(program + " ")]
            self.assertGreaterEqual(len(usages), 2, program)

    def test_the_help_of_finetune_has_the_forms_of_data(self):
        done = run("finetune", "--help")
        self.check(done, 0, '"messages"', '"instruction"', '"conversations"', '"prompt"', '"completion"', '"text"', "JSON lines",
                   "--train-on TEXT (answers or questions-and-answers)", "--overwrite")

    def test_numbers_are_refused_in_words(self):
        finetune = lambda *more: run(*self.arguments(1)[:-2], *more)
        chat = lambda *more: run("chat", "--model", self.model, "--prompt", "Hi", *more)
        elo = lambda *more: run("elo", self.folder, *more)
        for program, option, given, said in (
                (finetune, "--steps", 0, "expected 1 or more, found 0"),
                (finetune, "--steps", "ten", "expected a whole number, found ten"),
                (finetune, "--steps", "010", "expected a whole number, found 010"),
                (finetune, "--steps", "1.5", "expected a whole number, found 1.5"),
                (finetune, "--steps", "9" * 30, "expected a number from"),
                (finetune, "--lr", -1, "expected 0 or more, found -1"),
                (finetune, "--lr", "inf", "expected a finite number, found inf"),
                (finetune, "--lr", "nan", "expected a finite number, found nan"),
                (finetune, "--lr", "1e999", "expected a finite number"),
                (finetune, "--lr", "fast", "expected a number, found fast"),
                (finetune, "--alpha", "inf", "expected a finite number"),
                (finetune, "--dropout", "1e39", "expected a finite number"),
                (finetune, "--dropout", "1.5", "expected 0 to 0.999, found 1.5"),
                (finetune, "--weight-decay", "-inf", "expected a finite number"),
                (finetune, "--seed", -1, "expected a whole number of 0 or more, found -1"),
                (finetune, "--seq-len", 1, "expected 2 to 16777216, found 1"),
                (finetune, "--optimizer", "adamax", "found 'adamax'"),
                (finetune, "--train-on", "0", "expected answers or questions-and-answers, found '0'"),
                (finetune, "--block-size", 16, "expected 32, 64, 128, 256, 512, 1024, 2048 or 4096, found 16"),
                (chat, "--temperature", "inf", "expected a finite number"),
                (chat, "--top-p", "nan", "expected a finite number"),
                (chat, "--block-size", 16, "2048 or 4096, found 16"),
                (chat, "--max-tokens", 0, "expected 1 or more, found 0"),
                (elo, "--k", 0, "expected more than 0, found 0"),
                (elo, "--k", "inf", "expected a finite number"),
                (elo, "--orders", 0, "expected 1 or more, found 0")):
            done = program(option, given)
            self.check(done, 2, option + ": ", said)
            self.assertLess(len(done.stderr), 400, done.stderr)
        self.check(finetune("--format", "q4_0", "--block-size", 64), 2, "--block-size", "its block size is 32")
        self.check(finetune("--format", "float", "--block-size", 64), 2, "--block-size", "float")

    def test_what_can_not_be_meant_is_an_error(self):
        self.check(run("chat", "--model", self.model, "--prompt", ""), 2, "--prompt: expected a text, found an empty one")
        self.check(run("chat", "--model", self.model, "--prompt", " \t"), 2, "--prompt")
        done = run("evaluate", "--model", self.model, "--task", "nope")
        self.check(done, 1, "nope", "perplexity, mmlu, generation or a file of questions")
        self.check(run("evaluate", "--model", self.model, "--task", self.data, "--data", self.data), 2, "--data")
        self.check(run(*self.arguments(1), "--device", "cuda", "--grad-checkpoint"), 2, "--grad-checkpoint")


if __name__ == "__main__":
    unittest.main()
