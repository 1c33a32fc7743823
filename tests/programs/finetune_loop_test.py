"""A fine-tune through the library in 40 lines: the loss falls, and perplexity reads the adapter."""
import pathlib
import re
import unittest

from support import CHAT, ProgramTest, run


class FinetuneLoop(ProgramTest):
    def test_the_loss_falls_and_the_adapter_loads(self):
        data, out = self.write("chats.jsonl", CHAT * 4), self.folder / "out"
        done = run("finetune_loop", self.model, data, out)
        self.check(done, 0, "step 100  loss")
        losses = [float(x) for x in re.findall(r"loss (\S+)", done.stdout)]
        self.assertLess(sum(losses[-10:]), sum(losses[:10]))
        text = self.write("t.txt", "the thin thing " * 40)
        self.check(run("perplexity", "--model", self.model, "--text", text, "--seq-len", 32, "--adapter", out), 0, "perplexity")

    def test_says_what_is_wrong(self):
        self.check(run("finetune_loop"), 1, "usage: finetune_loop MODEL DATA OUTPUT")
        self.check(run("finetune_loop", self.model, self.folder / "none.jsonl", self.folder / "out"), 1, "none.jsonl")
        self.assertFalse((self.folder / "out").exists())

    def test_fits_forty_lines_of_code(self):
        source = pathlib.Path(__file__).parents[2] / "examples/finetune_loop.cpp"
        code = [line for line in source.read_text().splitlines() if line.strip() and not line.strip().startswith("//")]
        self.assertLessEqual(len(code), 40)


if __name__ == "__main__":
    unittest.main()
