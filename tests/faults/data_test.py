"""Training data of the forms, extensions and encodings that people have: read as what they mean, or refused by name."""
import gzip
import json
import unittest

from fault import BASE, FaultTest, run

CHATS = [
    [("user", "What is a hack?"), ("assistant", "A hack is an appropriate application of ingenuity.")],
    [("user", "Who sells shells?"), ("assistant", "She sells sea shells by the sea shore."), ("user", "Where?"), ("assistant", "By the shore.")],
]


def messages(chat):
    return {"messages": [{"role": role, "content": content} for role, content in chat]}


def lines(*rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


class Data(FaultTest):
    def finetune(self, name, content):
        """The loss on a file before anything is learned, or the message of the refusal."""
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        done = run("finetune", "--format", "float", "--compute", "float32", "--rank", 2, "--batch", 1, "--steps", 1, "--seq-len", 256,
                   "--model", BASE / "model", "--data", path, "--eval-data", path, "--output", self.folder / "out" / name)
        if done.returncode == 0:
            return float(done.stdout.split("held-out loss before ")[1].split()[0])
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        return done.stderr

    def is_same(self, expected, name, content):
        found = self.finetune(name, content)
        self.assertIsInstance(found, float, found)
        self.assertAlmostEqual(found, expected, delta=2e-4)

    def refuses(self, name, content, *parts):
        said = self.finetune(name, content)
        self.assertIsInstance(said, str, f"not refused: loss {said}")
        for part in parts:
            self.assertIn(part, said)
        self.assertNotIn("json.exception", said)
        self.assertLess(len(said), 500)

    def test_08_the_content_says_what_a_file_is(self):
        text = lines(*map(messages, CHATS))
        expected = self.finetune("chats.jsonl", text)
        for name in ("chats.ndjson", "chats.JSONL", "chats.txt", "chats"):
            self.is_same(expected, name, text)
        self.is_same(expected, "bom.jsonl", "\ufeff" + text.replace("\n", "\r\n\r\n"))
        self.refuses("chats.jsonl.gz", gzip.compress(text.encode()), "chats.jsonl.gz", "gzip")
        self.refuses("chats.parquet", b"PAR1" + bytes(100), "Parquet")
        self.refuses("chats.csv", "question;answer\na;b\n" * 200, "CSV")
        self.refuses("utf16.txt", ("text " * 300).encode("utf-16"), "UTF-16")
        # Others of the kind.
        self.refuses("utf32.txt", ("text " * 300).encode("utf-32-le"), "zero byte")
        self.refuses("chats.zip", b"PK\x03\x04" + bytes(100), "zip")
        self.refuses("latin1.txt", ("caf\xe9 " * 300).encode("latin-1"), "latin1.txt:1", "no UTF-8")
        self.refuses("table.txt", "instruction,output\na,b\n" * 100, "CSV")

    def test_10_system_and_history_of_an_instruction(self):
        row = {"instruction": "What is a hack?", "input": "", "output": "A hack is an appropriate application of ingenuity.",
               "system": "Answer as a pirate.", "history": [["Who sells shells?", "She does."]]}
        self.is_same(7.5914643857610224, "a.jsonl", lines(row))
        self.refuses("h.jsonl", lines(dict(row, history=[["Who sells shells?"]])), "h.jsonl:1: history[0]")
        self.refuses("f.jsonl", lines(dict(row, few_shots="x")), "f.jsonl:1: few_shots")

    def test_12_a_list_of_objects(self):
        rows = [{"instruction": a[1], "input": "", "output": b[1]} for a, b in (chat[:2] for chat in CHATS)]
        expected = self.finetune("a.jsonl", lines(*rows))
        self.is_same(expected, "a.json", json.dumps(rows, indent=2))
        self.is_same(expected, "b.txt", json.dumps(rows))
        self.refuses("c.json", json.dumps(rows[:1] + [3], indent=2), "c.json:7: expected an object")
        self.refuses("d.json", json.dumps(rows[0], indent=2), "d.json:1: one object over several lines")

    def test_13_kinds_of_content(self):
        expected = self.finetune("m.jsonl", lines(messages(CHATS[0])))
        parts = messages(CHATS[0])
        parts["messages"][0]["content"] = [{"type": "text", "text": "What is "}, {"type": "text", "text": "a hack?"}]
        self.is_same(expected, "parts.jsonl", lines(parts))
        self.is_same(expected, "input.jsonl", lines({"instruction": CHATS[0][0][1], "input": None, "output": CHATS[0][1][1]}))
        for name, content, found in (("null", None, "null"), ("number", 3, "a number"), ("flag", True, "true or false")):
            self.refuses(name + ".jsonl", lines({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": content}]}),
                         f"{name}.jsonl:1: messages[1].content: expected a text, found {found}")
        self.refuses("text.jsonl", lines({"messages": json.dumps(parts["messages"])}), "text.jsonl:1: messages: expected a list of messages, found a text")
        self.refuses("image.jsonl", lines({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}]}),
                     "messages[0].content[0].type: expected text, found 'image_url'")

    def test_14_conversations(self):
        expected = self.finetune("m.jsonl", lines(*map(messages, CHATS)))
        share = [{"id": "i", "conversations": [{"from": {"user": "human", "assistant": "gpt"}[role], "value": text} for role, text in chat]}
                 for chat in CHATS]
        self.is_same(expected, "s.jsonl", lines(*share))
        self.refuses("s2.jsonl", lines({"conversations": [{"from": "alien", "value": "x"}]}), "s2.jsonl:1: conversations[0].from", "'alien'")

    def test_15_16_texts_and_completions(self):
        text = "### Human: What is a hack?### Assistant: A hack."
        self.assertIsInstance(self.finetune("o.jsonl", lines({"text": text})), float)
        self.assertIsInstance(self.finetune("p.jsonl", lines({"prompt": "What is a hack?", "completion": " A hack."})), float)
        (role, question), (_, answer) = CHATS[0]
        expected = self.finetune("m.jsonl", lines(messages(CHATS[0])))
        self.is_same(expected, "l.jsonl", lines({"prompt": [{"role": role, "content": question}], "completion": [{"role": "assistant", "content": answer}]}))
        self.refuses("c.jsonl", lines({"prompt": "a", "chosen": "b", "rejected": "c"}), "c.jsonl:1: expected", "found prompt, chosen, rejected")
        self.refuses("mixed.jsonl", lines({"text": text}, messages(CHATS[0])), "mixed.jsonl:2: expected a text as in line 1, found a chat")

    def test_weights_of_messages(self):
        whole = self.finetune("m.jsonl", lines(messages(CHATS[1])))
        first = self.finetune("f.jsonl", lines(messages(CHATS[1][:2])))
        row = messages(CHATS[1])
        row["messages"][3]["weight"] = 0
        self.is_same(first, "w.jsonl", lines(row))
        row["messages"][3]["weight"] = 1
        self.is_same(whole, "v.jsonl", lines(row))
        row["messages"][3]["weight"] = 0.5
        self.refuses("u.jsonl", lines(row), "messages[3].weight: expected 0 or 1, found 0.5")
        self.refuses("r.jsonl", lines(dict(messages(CHATS[0]), weight=2)), "r.jsonl:1: weight")


if __name__ == "__main__":
    unittest.main()
