"""The examples in the comments that open headers compile: lines that begin with "///" and five blanks.

Each example is taken apart: types, names and assertions stand in a namespace, the rest in a function. Names that an example uses but
does not declare are those of world.hpp. "..." stands for what the reader fills in. Examples for a device need its compiler and are
left out here: those of headers in cuda/, and those that name it.

    headers.py REPOSITORY COMPILER FLAGS...
"""
import pathlib
import re
import subprocess
import sys
import tempfile

root, command = pathlib.Path(sys.argv[1]), sys.argv[2:]
headers = root / "include/qlora"
world = pathlib.Path(__file__).parent / "world.hpp"
offered = set(re.findall(r"^(?:extern .*?|void )(\w+)(?:;|\()", world.read_text(), re.MULTILINE))


def example_of(path):
    """The code lines of a header's first comment, with their line numbers."""
    lines = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if not line.startswith("///"):
            break
        if line.startswith("///     "):
            lines.append((number, line[8:]))
    return lines


def statements(text):
    """Cuts code where a statement or a definition ends: at a semicolon or a block's brace outside of all brackets."""
    depth, start, parts = 0, 0, []
    for at, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        word = text[start:at].split()
        block = letter == "}" and depth == 0 and word and (word[0] in ("for", "if", "while") or word[0].startswith("{"))
        if (letter == ";" and depth == 0) or block:
            parts.append(text[start:at + 1])
            start = at + 1
    if text[start:].strip():
        parts.append(text[start:])
    return parts


def translation(name, lines):
    first = lines[0][0]
    code, at = "", first
    for number, line in lines:
        code += "\n" * (number - at) + re.sub(r"//.*", "", line)
        at = number
    code = code.replace(" = ...;", ";").replace("{ ... }", "{}")
    code = re.sub(r"\s\.\.\.$", ";", code)
    outside, inside, at = "", "", first
    for part in statements(code):
        blank = part[:len(part) - len(part.lstrip())]
        placed = f'#line {at + blank.count(chr(10))} "{name}"\n{part.strip()}\n'
        if re.match(r"\s*(struct|template|using|static_assert)\b", part):
            outside += placed
        else:
            inside += placed
        at += part.count("\n")
    used = sorted(offered & set(re.findall(r"\w+", code)))
    place = re.sub(r"\W", "_", name)
    return (f"namespace example_{place} {{\nusing namespace qlora;\n" + "".join(f"using world::{word};\n" for word in used) + outside +
            f"[[maybe_unused]] void example() {{\n{inside}}}\n}}\n")


examples = {}
for path in sorted(headers.rglob("*.hpp")):
    lines = example_of(path)
    if lines and "cuda" not in str(path.relative_to(headers)) and not any(re.search("cuda|Cuda|__global__", line) for _, line in lines):
        examples[str(path.relative_to(headers))] = lines
if len(examples) < 60:
    sys.exit(f"expected the examples of at least 60 headers, found {len(examples)}")
source = "".join(f'#include "qlora/{name}"\n' for name in examples) + f'#include "{world}"\n'
source += "".join(translation(name, lines) for name, lines in examples.items())
with tempfile.TemporaryDirectory() as folder:
    file = pathlib.Path(folder) / "examples.cpp"
    file.write_text(source)
    done = subprocess.run([*command, file], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
print(f"the examples of {len(examples)} headers compile")
