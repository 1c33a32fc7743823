"""What the tests of programs share: a tiny model, a folder of their own, and runs with their exit code and output."""
import os
import pathlib
import subprocess
import tempfile
import unittest

examples = pathlib.Path(os.environ["QLORA_EXAMPLES"])
CHAT = '{"messages":[{"role":"user","content":"Hi"},{"role":"assistant","content":"the thin"}]}\n'


def shared_data(test):
    """The folder of data that may not be copied into the project; skips the test where it is not there."""
    folder = pathlib.Path(__file__).resolve().parents[2].parent / "shared/data"
    if not folder.is_dir():
        test.skipTest(f"skipped: {folder} is not there")
    return folder


def run(program, *arguments, stdin="", seconds=600):
    """The finished run; output is text, broken bytes replaced."""
    return subprocess.run([examples / program, *map(str, arguments)], input=stdin, capture_output=True, text=True,
                          errors="replace", timeout=seconds)


class ProgramTest(unittest.TestCase):
    def setUp(self):
        self._folder = tempfile.TemporaryDirectory()
        self.addCleanup(self._folder.cleanup)
        self.folder = pathlib.Path(self._folder.name)
        self.model = self.folder / "tiny.gguf"
        subprocess.run([os.environ["QLORA_MAKE_TINY_MODEL"], self.model], check=True)

    def write(self, name, text):
        path = self.folder / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def check(self, done, code, *parts):
        """The exit code; each part stands on stderr when it failed and on stdout when not."""
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        for part in parts:
            self.assertIn(part, done.stdout if code == 0 else done.stderr)
