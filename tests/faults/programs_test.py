"""Programs at their ends: a chat whose vocabulary is padded or whose context is full, judgements in the forms of others, numbers in messages."""
import json
import random
import struct
import unittest

from fault import FaultTest, read_safetensors, run, write_safetensors


class Programs(FaultTest):
    def padded(self, rows=2048):
        """A model whose tables have more rows than the tokenizer has tokens."""
        folder = self.base_folder(config={"vocab_size": rows})
        path = folder / "model.safetensors"
        tensors = read_safetensors(path)
        chance = random.Random(1)
        for name in ("model.embed_tokens.weight", "lm_head.weight"):
            if name in tensors:
                kind, (old, width), data = tensors[name]
                more = struct.pack(f"<{(rows - old) * width}f", *(chance.gauss(0, 0.25) for _ in range((rows - old) * width)))
                tensors[name] = (kind, [rows, width], data + more)
        write_safetensors(path, tensors)
        return folder

    def chat(self, model, *more, stdin=""):
        return run("chat", "--format", "float", "--model", model, *more, stdin=stdin)

    def test_an_id_without_a_token_is_an_empty_piece(self):
        model = self.padded()
        for seed in range(3):
            done = self.chat(model, "--prompt", "hi", "--max-tokens", 40, "--temperature", 3, "--seed", seed)
            self.check(done, 0)
            self.assertEqual(done.stderr, "")

    def test_side_by_side_answers_pass_over_ids_without_a_token(self):
        asked = self.write("asked.jsonl", '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}\n')
        done = run("evaluate", "--format", "float", "--model", self.padded(), "--task", "generation", "--data", asked, "--max-tokens", 40,
                   "--temperature", 3)
        self.check(done, 0, "? hi")

    def small(self, context):
        return self.base_folder(config={"max_position_embeddings": context})

    def test_a_conversation_goes_on_when_its_context_is_full(self):
        model = self.small(256)
        done = self.chat(model, "--max-tokens", 100, stdin="tell me about hacks\ntell me more\nand more\nand more\n")
        self.check(done, 0)
        self.assertEqual(done.stdout.count("> "), 5)
        self.assertIn("the context is full: the oldest", done.stderr)
        for line in done.stderr.splitlines():
            self.assertTrue(line.startswith("warning: "), line)

    def test_an_answer_is_cut_where_the_context_ends(self):
        done = self.chat(self.small(128), "--prompt", "hi")  # 256 tokens by default
        self.check(done, 0)
        self.assertIn("the answer ends here because the context is full", done.stderr)

    def test_one_message_that_is_too_long_is_said_and_the_next_one_answered(self):
        model = self.small(128)
        done = self.chat(model, "--max-tokens", 8, stdin="hack " * 200 + "\nhi\n")
        self.check(done, 0)
        self.assertRegex(done.stderr, r"warning: context: the message comes to \d+ tokens and the model's context is 128")
        self.assertEqual(len([line for line in done.stdout.split("> ")[2].splitlines() if line.strip()]) > 0, True)
        done = self.chat(model, "--prompt", "hack " * 200)
        self.check(done, 1, "context is 128", "a shorter message")

    def test_side_by_side_answers_are_cut_where_the_context_ends(self):
        asked = self.write("asked.jsonl", '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}\n')
        done = run("evaluate", "--format", "float", "--model", self.small(128), "--task", "generation", "--data", asked)
        self.check(done, 0, "? hi")

    def elo(self, name, text):
        return run("elo", self.write(name, text), "--orders", 10, "--resamples", 0, "--json", self.folder / "elo.json")

    def test_arena_battles_are_rated(self):
        battles = [{"model_a": "x", "model_b": "y", "winner": "model_a"}, {"model_a": "y", "model_b": "x", "winner": "tie (bothbad)"}]
        folder = self.folder / "arena"
        folder.mkdir()
        (folder / "clean_battle.json").write_text(json.dumps(battles))
        (folder / "README.md").write_text("battles")
        for path in (folder, folder / "clean_battle.json"):
            done = run("elo", path, "--orders", 10, "--resamples", 0)
            self.check(done, 0, "2 matches")
            self.assertEqual(done.stdout.splitlines()[1].split()[0], "x")
        self.check(self.elo("battles.jsonl", "".join(json.dumps(battle) + "\n" for battle in battles)), 0, "2 matches")

    def test_pairs_of_mt_bench_are_two_matches_each(self):
        pair = {"question_id": 81, "model_1": "p", "model_2": "q", "g1_winner": "model_2", "g2_winner": "model_2", "judge": ["gpt-4"],
                "turn": 1}
        done = self.elo("gpt-4_pair.jsonl", json.dumps(pair) + "\n")
        self.check(done, 0, "2 matches", "1 pairs in both orders: same verdict 100.0 %")
        self.assertEqual(done.stdout.splitlines()[1].split()[0], "q")

    def test_judgements_by_message_id_are_rated(self):
        lines = "".join(json.dumps({"message_id": f"m{i}", "score": 1 + i % 3}) + "\n" for i in range(9))
        name = "answer-a-oa-generations-topp0.9-vs-answer-b-oa-generations-topp0.9-gpt-4-reviewer-threeclass.jsonl"
        self.check(self.elo(name, lines), 0, "9 matches")

    def test_single_scores_and_other_tables_are_refused_by_what_they_lack(self):
        self.check(self.elo("gpt-4_single.jsonl", '{"question_id": 81, "model": "p", "score": 9, "turn": 1}\n'), 1,
                   "gpt-4_single.jsonl:1: expected an arena battle", "found the keys model, question_id, score, turn")
        self.check(self.elo("a-vs-b-gpt4-reviewer.jsonl", '{"review_id": 1, "score": 1}\n'), 1, "expected an id (question_id, message_id",
                   "found the keys review_id, score")
        self.check(self.elo("arena.json", '[{"model_a": "x", "model_b": "y", "winner": "x"}]'), 1, "winner: expected model_a, model_b, tie",
                   "found x")

    def test_numbers_in_messages_are_few(self):
        chats = self.write("chats.jsonl", '{"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}]}\n')
        for more, said in ((["--steps", 0], "--steps: expected 1 or more, found 0"), (["--lr", "inf"], "--lr: expected a finite number, found inf"),
                           (["--lr", -1], "--lr: expected 0 or more, found -1"), (["--warmup-steps", -5], "expected 0 or more, found -5")):
            done = run("finetune", "--model", self.folder, "--data", chats, "--output", self.folder / "out", *more)
            self.check(done, 2, said)
            self.assertLess(len(done.stderr), 200)


if __name__ == "__main__":
    unittest.main()
