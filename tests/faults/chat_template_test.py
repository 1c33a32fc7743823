"""Chat templates: what is trained on is the text of the model's own template. Losses in numbers are transformers' own, of the text that
apply_chat_template gives, on the answers and the end of their turns."""
import json
import unittest

from fault import BASE, STRING, FaultTest, run

CHATS = [[("user", "What is a hack?"), ("assistant", "A hack is an appropriate application of ingenuity.")],
         [("user", "Who sells shells?"), ("assistant", "She sells sea shells by the sea shore."), ("user", "Where?"),
          ("assistant", "By the shore.")]]
BRANCHES = ("{% for message in messages %}{% if message['role'] == 'user' %}{{'<|im_start|>user\\n' + message['content'] + '<|im_end|>\\n'}}"
            "{% elif message['role'] == 'assistant' %}{{'<|im_start|>assistant\\n' + message['content'] + '<|im_end|>\\n' }}"
            "{% else %}{{ '<|im_start|>system\\n' + message['content'] + '<|im_end|>\\n' }}{% endif %}{% endfor %}"
            "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
PLAIN = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}"
         "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
NO_DEFAULT, WITH_BEGIN, WITH_DEFAULT = 8.483979060718516, 8.432154851093955, 8.194393286651998


def lines(chats):
    return "".join(json.dumps({"messages": [{"role": role, "content": content} for role, content in chat]}) + "\n" for chat in chats)


def with_begin_token(tokenizer):
    """The tokenizer with <s> as token 3; the last token goes, so that the model keeps its size."""
    words = sorted(tokenizer["model"]["vocab"].items(), key=lambda word: word[1])
    last = words.pop()[0]
    names = [word for word, _ in words]
    tokenizer["model"]["vocab"] = {word: i for i, word in enumerate(names[:3] + ["<s>"] + names[3:])}
    tokenizer["model"]["merges"] = [merge for merge in tokenizer["model"]["merges"] if "".join(merge) != last]
    tokenizer["added_tokens"].append(tokenizer["added_tokens"][-1] | {"id": 3, "content": "<s>"})
    return tokenizer


class ChatTemplates(FaultTest):
    def model(self, template=None, begin=False, name="model", **files):
        folder = self.base_folder(name, without=("chat_template.jinja",), **files)
        if template is not None:
            (folder / "chat_template.jinja").write_text(template)
        if begin:
            path = folder / "tokenizer.json"
            path.write_text(json.dumps(with_begin_token(json.loads(path.read_text()))))
            config = folder / "tokenizer_config.json"
            config.write_text(json.dumps(json.loads(config.read_text()) | {"bos_token": "<s>"}))
        return folder

    def finetune(self, model, text, *more, name="chats.jsonl"):
        data = self.folder / name
        data.write_text(text)
        out = self.folder / f"out{len(list(self.folder.iterdir()))}"
        done = run("finetune", "--format", "float", "--compute", "float32", "--rank", 2, "--batch", 1, "--steps", 1, "--seq-len", 512,
                   "--model", model, "--data", data, "--eval-data", data, "--output", out, *more)
        return done, out

    def loss(self, model, text=lines(CHATS), *more):
        done, _ = self.finetune(model, text, *more)
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        return float(done.stdout.split("held-out loss before ")[1].split()[0])

    def has_loss(self, expected, model, text=lines(CHATS), *more):
        # The program prints six digits.
        self.assertLess(abs(self.loss(model, text, *more) / expected - 1), 2e-5)

    def refuses(self, model, text, *parts, more=()):
        done, _ = self.finetune(model, text, *more)
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        for part in parts:
            self.assertIn(part, done.stderr)

    def test_a_branch_for_each_role_is_no_default_system_message(self):
        self.has_loss(NO_DEFAULT, self.model(BRANCHES, begin=True))

    def test_other_ways_to_write_the_same_text_give_the_same_loss(self):
        ways = {
            "comment": "{# <|im_start|>system\nBe wrong.<|im_end|>\n #}" + PLAIN,
            "never": "{% if false %}<|im_start|>system\nBe wrong.<|im_end|>\n{% endif %}" + PLAIN,
            "macro": "{% macro turn(m) %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endmacro %}"
                     "{% for m in messages %}{{ turn(m) }}{% endfor %}",
            "namespace": "{% set ns = namespace(text='') %}{% for m in messages %}"
                         "{% set ns.text = ns.text ~ '<|im_start|>' ~ m.role ~ '\\n' ~ m.content ~ '<|im_end|>\\n' %}{% endfor %}{{ ns.text }}",
            "pieces": "{% set start = '<|im_' ~ 'start|>' %}{% for m in messages %}{{ start }}{{ m['role'] }}{{ '\n' }}"
                      "{{ m['content'].split('zzz') | join }}{{ '<|im_end|>' }}{{ '\n' }}{% endfor %}"}
        for name, template in ways.items():
            with self.subTest(name):
                self.has_loss(NO_DEFAULT, self.model(template, begin=True, name=name))

    def test_the_token_that_begins_a_text_is_there_when_the_template_writes_it(self):
        self.has_loss(WITH_BEGIN, self.model("{{bos_token}}" + PLAIN, begin=True))
        self.has_loss(WITH_BEGIN, self.model("{{- '<s>' -}}\n" + PLAIN, begin=True, name="literal"))
        self.has_loss(WITH_BEGIN, self.model("{% if messages[0]['role'] != 'system' %}<s>{% endif %}" + PLAIN, begin=True, name="first"))

    def test_no_token_begins_a_text_when_neither_template_nor_tokenizer_has_one(self):
        self.has_loss(NO_DEFAULT, self.model(PLAIN, begin=True))
        folder = self.model("{{bos_token}}" + PLAIN, begin=True, name="none")
        config = json.loads((folder / "tokenizer_config.json").read_text())
        del config["bos_token"]
        (folder / "tokenizer_config.json").write_text(json.dumps(config))
        self.has_loss(NO_DEFAULT, folder)

    def test_of_named_templates_the_default_is_used(self):
        default = {"name": "default", "template": (BASE / "model" / "chat_template.jinja").read_text()}
        tools = {"name": "tool_use", "template": "{{ tools }}"}
        for name, named in {"first": [default, tools], "last": [tools, default]}.items():
            folder = self.model(name=name, tokenizer_config_json={"chat_template": named})
            self.has_loss(WITH_DEFAULT, folder)
            self.check(run("chat", "--model", folder, "--prompt", "hi", "--max-tokens", 2), 0)

    def test_the_file_of_the_template_counts_first(self):
        folder = self.model(PLAIN, tokenizer_config_json={"chat_template": "{{ raise_exception('not this one') }}"})
        base = self.loss(self.model(PLAIN, name="base"))
        self.assertEqual(self.loss(folder), base)

    def test_named_templates_without_a_default_are_no_template(self):
        folder = self.model(tokenizer_config_json={"chat_template": [{"name": "tool_use", "template": "{{ tools }}"}]})
        self.refuses(folder, lines(CHATS), "chat template", "--chat-template")

    def test_a_gguf_file_has_its_own_template(self):
        self.has_loss(WITH_DEFAULT, BASE / "model.gguf")
        other = self.base_gguf(keys={"tokenizer.chat_template": (STRING, BRANCHES), "tokenizer.chat_template.rag": (STRING, "{{ x")})
        self.assertEqual(self.loss(other), self.loss(self.model(PLAIN)))

    def test_a_base_model_needs_a_template_by_name_or_file(self):
        folder = self.model()
        alpaca = '{"instruction": "What is a hack?", "input": "", "output": "A hack."}\n'
        self.refuses(folder, alpaca, "no chat template", "--chat-template", "alpaca")
        self.refuses(self.base_gguf(without=("tokenizer.chat_template",)), alpaca, "--chat-template")
        named = self.loss(folder, alpaca, "--chat-template", "alpaca")
        file = self.folder / "own.jinja"
        file.write_text("<|im_start|>Below is an instruction that describes a task. Write a response that appropriately completes the "
                        "request.\n\n### Instruction:\n{{ messages[0].content }}\n\n### Response:\n{{ messages[1].content }}"
                        "{% for m in messages[2:] %}{{ m.content }}{% endfor %}<|im_end|>\n")
        self.assertEqual(named, self.loss(folder, alpaca, "--chat-template", file))
        self.assertEqual(self.loss(folder, lines(CHATS), "--chat-template", "chatml"), self.loss(self.model(PLAIN, name="own")))
        self.refuses(folder, alpaca, "expected chatml, alpaca or a file, found 'nonsense'", more=("--chat-template", "nonsense"))

    def test_chat_writes_as_the_adapter_was_tuned(self):
        folder = self.model()
        done, out = self.finetune(folder, lines(CHATS), "--chat-template", "alpaca")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("### Response", json.loads((out / "qlora.json").read_text())["chat_template"])
        ask = ("--prompt", "hi", "--max-tokens", 8, "--model", folder)
        self.check(run("chat", *ask), 1, "--chat-template")
        tuned = run("chat", *ask, "--adapter", out)
        self.check(tuned, 0)
        self.assertEqual(tuned.stdout, run("chat", *ask, "--adapter", out, "--chat-template", "alpaca").stdout)
        self.assertNotEqual(tuned.stdout, run("chat", *ask, "--adapter", out, "--chat-template", "chatml").stdout)

    def test_a_system_message_and_earlier_turns_are_in_the_text(self):
        chat = [[("system", "Answer as a pirate."), ("user", "Who sells shells?"), ("assistant", "She does."), ("user", "What is a hack?"),
                 ("assistant", "A hack is an appropriate application of ingenuity.")]]
        self.has_loss(7.5914643857610224, self.base_folder(), lines(chat))

    def test_calls_of_tools_are_trained_on_where_the_template_writes_them_and_refused_where_not(self):
        function = {"name": "look_up", "arguments": {"word": "hack"}}
        ask, result = {"role": "user", "content": "What is a hack?"}, {"role": "tool", "content": "A joke."}
        calls = {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": function}]}
        says = {"role": "assistant", "content": json.dumps(function)}
        row = lambda **chat: json.dumps(chat) + "\n"
        self.refuses(self.base_folder(), row(messages=[ask, calls]), "chats.jsonl:1", "message 2", "does not write its tool_calls")
        tools = [{"type": "function", "function": {"name": "look_up"}}]
        self.refuses(self.base_folder("tools"), row(messages=[ask, says], tools=tools), "does not write the tools")
        writes = PLAIN.replace("message['content']", "message['content'] + (message.tool_calls | map(attribute='function') "
                               "| map('tojson') | join if message.tool_calls else '')")
        folder = self.model(writes, name="writes")
        self.assertEqual(self.loss(folder, row(messages=[ask, calls, result, says])), self.loss(folder, row(messages=[ask, says, result, says])))

    def test_a_template_that_leaves_out_what_is_said_is_refused(self):
        deaf = "{% for m in messages %}{% if m.role != 'system' %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
        chat = [[("system", "Be brief.")] + CHATS[0]]
        self.refuses(self.model(deaf), lines(chat), "message 1", "does not write", "system")
        self.refuses(self.model("{{ messages[0].role }}", name="mute"), lines(CHATS), "chat template", "message 1")

    def test_what_a_template_refuses_or_what_is_not_known_of_it_is_said_with_its_line(self):
        picky = "{% if messages | length > 3 %}\n{{ raise_exception('too many turns') }}\n{% endif %}" + PLAIN
        self.refuses(self.model(picky), lines(CHATS), "line 2", "too many turns")
        odd = "{% if messages | length > 3 %}\n{{ messages | shuffle }}\n{% endif %}" + PLAIN
        self.refuses(self.model(odd, name="odd"), lines(CHATS), "line 2", "'shuffle'")
        self.refuses(self.model("\n{% for %}", name="broken"), lines(CHATS), "line 2")


if __name__ == "__main__":
    unittest.main()
