#!/usr/bin/env python3
"""Turns the Jargon File into questions and answers for fine-tuning, as JSON lines of chats.

    jargon_pairs.py JARGON.txt OUTPUT_FOLDER

Writes train.jsonl and held_out.jsonl. An entry is a term at the start of a line, a line with its pronunciation and part of
speech, and indented paragraphs; the answer is the part of speech and the first sentences of the first definition. Asked terms
(ASKED) and 45 others, chosen by a seed, are held out.
"""
import json
import pathlib
import random
import re
import sys

ASKED = ["bit bucket", "vaporware", "wizard"]
KINDS = {"n.": "noun", "v.": "verb", "vt.": "verb", "vi.": "verb", "adj.": "adjective", "adv.": "adverb", "interj.": "interjection"}
LONGEST = 320  # characters of an answer


def entries(text):
    """(term, line of the part of speech, paragraphs) of each entry."""
    blocks = re.split(r"\n\n+(?=\S[^\n]*\n )", text)
    for block in blocks:
        head, _, rest = block.partition("\n")
        kind, _, body = rest.partition("\n")
        paragraphs = [" ".join(part.split()) for part in re.split(r"\n\s*\n", body)]
        yield head.strip(), kind.strip(), [part for part in paragraphs if part]


def answer(kind, paragraphs):
    """The first sentences of the first paragraph that defines something, or nothing."""
    for paragraph in paragraphs:
        text = re.sub(r"^(\[[^\]]*\]\s*)+", "", paragraph)  # where the word comes from
        text = re.sub(r"^1\.\s+", "", text)
        text = re.sub(r"\{\s*([^{}]*?)\s*\}", r"\1", text)  # references
        if len(text) < 40 or not text[0].isupper():
            continue
        said = ""
        for sentence in re.split(r"(?<=[.!?])\s+(?=[A-Z“])", text):
            if sentence.startswith(("See ", "Compare ", "Also ", "Oppose ")) or len(said) + len(sentence) > LONGEST:
                break
            said += (" " if said else "") + sentence
        word = next((name for short, name in KINDS.items() if re.search(rf"(^|[\s,]){re.escape(short)}", kind)), "")
        return (f"({word}) " if word else "") + said if said else None
    return None


def main():
    text = pathlib.Path(sys.argv[1]).read_text(encoding="utf-8", errors="replace")
    out = pathlib.Path(sys.argv[2])
    pairs = {}
    for term, kind, paragraphs in entries(text[text.index("The Jargon Lexicon"):] if "The Jargon Lexicon" in text else text):
        said = answer(kind, paragraphs) if 1 < len(term) < 40 else None
        if said and term not in pairs:
            pairs[term] = json.dumps({"messages": [
                {"role": "user", "content": f"What does *{term}* mean in hacker jargon?"},
                {"role": "assistant", "content": said}]}, ensure_ascii=False)
    others = sorted(term for term in pairs if term not in ASKED)
    random.Random(0).shuffle(others)
    held_out = [term for term in ASKED if term in pairs] + others[:45]
    out.mkdir(parents=True, exist_ok=True)
    (out / "held_out.jsonl").write_text("".join(pairs[term] + "\n" for term in held_out), encoding="utf-8")
    (out / "train.jsonl").write_text("".join(pairs[term] + "\n" for term in others[45:]), encoding="utf-8")
    print(f"{len(others) - 45} questions to train on, {len(held_out)} held out")


if __name__ == "__main__":
    main()
