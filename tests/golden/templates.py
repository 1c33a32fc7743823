"""The chat templates of the llama-cpp-python source distribution, rendered here and by Python's jinja2 for seven conversations each.

    templates.py llama_cpp_python-0.3.36.tar.gz build/tests/render_templates

Nothing of the distribution is run. Fails when a text differs, or when fewer than 90 % of all pairs are equal; where Python raises, a
refusal is equal. Needs jinja2 (3.1.6).
"""
import json
import pathlib
import subprocess
import sys
import tarfile

import jinja2

from jinja_reference import render

WEATHER = {"type": "function", "function": {
    "name": "get_weather", "description": "Gives the weather of a city.",
    "parameters": {"type": "object", "required": ["city"], "properties": {
        "city": {"type": "string", "description": "the city's name"}, "days": {"type": "integer", "default": 1}}}}}
ADD = {"type": "function", "function": {
    "name": "add", "description": "Adds \"numbers\" <a> & b",
    "parameters": {"type": "object", "required": ["a", "b"], "properties": {"a": {"type": "number"}, "b": {"type": "number"}}}}}


def said(role, content, **more):
    return {"role": role, "content": content, **more}


CALL = said("assistant", "", tool_calls=[{"id": "call00001", "type": "function", "function": {
    "name": "get_weather", "arguments": {"city": "Zürich", "days": 2}}}])
CONVERSATIONS = {
    "system": {"messages": [said("system", "Be brief."), said("user", "Hi"), said("assistant", "Hello!")]},
    "none": {"messages": [said("user", "What's 2 < 3?"), said("assistant", "  True & \"fine\"\n")]},
    "tools": {"messages": [said("system", "Use tools."), said("user", "Weather in Zürich?")], "tools": [WEATHER, ADD],
              "add_generation_prompt": True},
    "tool call": {"messages": [said("user", "Weather in Zürich?"), CALL,
                               said("tool", "{\"t\": 21.5}", tool_call_id="call00001", name="get_weather"),
                               said("assistant", "It is 21.5 degrees.")], "tools": [WEATHER, ADD]},
    "several turns": {"messages": [said("system", "S"), said("user", "a"), said("assistant", "b"), said("user", "c"),
                                   said("assistant", "<think>\nhm\n</think>\n\nd"), said("user", "e"), said("assistant", "f")]},
    "empty answer": {"messages": [said("user", "a"), said("assistant", ""), said("user", "b"), said("assistant", "c")]},
    "generation prompt": {"messages": [said("user", "a"), said("assistant", "b"), said("user", "c\n")], "add_generation_prompt": True},
}


def templates(path):
    with tarfile.open(path) as archive:
        for member in archive:
            if "/vendor/llama.cpp/models/templates/" in member.name and member.name.endswith(".jinja"):
                yield pathlib.Path(member.name).stem, archive.extractfile(member).read().decode()


def main(distribution, program):
    cases = []
    for name, source in sorted(templates(distribution)):
        for title, chat in CONVERSATIONS.items():
            context = {"tools": None, "documents": None, "add_generation_prompt": False, "bos_token": "<s>", "eos_token": "</s>",
                       "unk_token": "<unk>", "pad_token": "<pad>", **chat}
            cases.append((f"{name}, {title}", {"source": source, "context": context}))
    done = subprocess.run([program], input=json.dumps([case for _, case in cases]), stdout=subprocess.PIPE, text=True, check=True)
    count = {"equal": 0, "refused": 0, "different": 0}
    raised = 0
    for (name, case), ours in zip(cases, json.loads(done.stdout), strict=True):
        text, failure = render(case["source"], case["context"])
        raised += text is None
        if ours.get("text") == text:
            count["equal"] += 1
        elif "error" in ours:
            count["refused"] += 1
            print(f"{name}: refused: {ours['error']}")
        else:
            count["different"] += 1
            print(f"{name}: {failure or 'another text'}")
    share = count["equal"] / len(cases)
    print(f"jinja2 {jinja2.__version__}: {len(cases)} pairs, {count['equal']} equal ({share:.1%}), {raised} of them refused by both, "
          f"{count['refused']} refused here alone, {count['different']} different")
    return 0 if count["different"] == 0 and share >= 0.9 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
