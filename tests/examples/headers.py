"""Every example compiles: in a header's comments the lines that begin with "///" and five blanks, in README.md and docs/ the blocks marked
as cpp.

An example is taken apart: types, names and assertions stand in a namespace, the rest in a function. Names that it uses but does not
declare are those of world.hpp, or of device_world.cuh for a device. "..." stands for what the reader fills in. Blocks of documents
with a main function are whole programs: they get nothing and no warning. Examples for a device (those of headers in cuda/, and
those that name it) need nvcc.

    headers.py REPOSITORY host COMPILER FLAGS...
    headers.py REPOSITORY device NVCC FLAGS...       ends with 77 where NVCC is not there
"""
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# How many there are of each kind. May grow, and is raised then; may not fall.
FEWEST = {"headers": 122, "fragments": 6, "programs": 3, "device": 15}

root, side, command = pathlib.Path(sys.argv[1]), sys.argv[2], sys.argv[3:]
here = pathlib.Path(__file__).parent
world = here / ("world.hpp" if side == "host" else "device_world.cuh")
offered = set(re.findall(r"^(?:extern .*?|void )(\w+)(?:;|\()", world.read_text(), re.MULTILINE))


def of_header(path):
    """The example of a header: its code lines with their numbers, from all its comments."""
    return [(number, match[1]) for number, line in enumerate(path.read_text().splitlines(), 1)
            if (match := re.match(r"\s*///     (.*)", line))]


def of_document(path):
    """The examples of a document, likewise."""
    blocks, block = [], None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("```"):
            if block is None and line in ("```cpp", "```cuda"):
                block = []
            elif block is not None:
                blocks.append(block)
                block = None
        elif block is not None:
            block.append((number, line))
    return blocks


def for_device(name, lines):
    text = "\n".join(line for _, line in lines)
    return name.startswith("include/qlora/cuda/") or bool(re.search("cuda|Cuda|__global__", text))


def statements(text):
    """Cuts code where a statement or a definition ends: at a semicolon or a block's brace outside of all brackets."""
    depth, start, parts = 0, 0, []
    for at, letter in enumerate(text):
        depth += (letter in "([{") - (letter in ")]}")
        word = text[start:at].split()
        head = text[start:at].split("{")[0]
        block = letter == "}" and depth == 0 and word and (word[0] in ("for", "if", "while") or word[0].startswith("{") or
                                                           word[0] == "template" and not re.search(r">\s*(struct|class)\b", head))
        if (letter == ";" and depth == 0) or block:
            parts.append(text[start:at + 1])
            start = at + 1
    if text[start:].strip():
        parts.append(text[start:])
    return parts


def joined(lines):
    """The code of numbered lines, each on a line of its own as in the file, and without #include lines."""
    code, at = "", lines[0][0]
    for number, line in lines:
        code += "\n" * (number - at) + ("" if line.startswith("#include") else re.sub(r"//.*", "", line))
        at = number
    return code


def fragment(name, lines):
    """An example in a namespace of its own."""
    code, first = joined(lines), lines[0][0]
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
    own = set(re.findall(r"\b(?:void|struct) (\w+)", outside))
    used = sorted((offered & set(re.findall(r"\w+", code))) - own)
    place = re.sub(r"\W", "_", f"{name}_{first}")
    head = f"namespace example_{place} {{\nusing namespace qlora;\n"
    if side == "device":
        head += "using namespace qlora::cuda;\n"
    head += "".join(f"using world::{word};\n" for word in used) + outside
    if side == "device" and re.search(r"\bContext\b", inside):  # for use in a kernel
        return (head + "template <class Format, class Context>\nQLORA_DEVICE void example(Context& thread, QuantizedView<Format> w, Index place) {\n"
                f"{inside}}}\ntemplate QLORA_DEVICE void example(DeviceContext&, QuantizedView<formats_of_world>, Index);\n}}\n")
    return head + f"[[maybe_unused]] void example() {{\n{inside}}}\n}}\n"


def program(name, lines):
    place = re.sub(r"\W", "_", f"{name}_{lines[0][0]}")
    code = re.sub(r"\bint main\(", "[[maybe_unused]] int program(", joined(lines))
    return f'namespace program_{place} {{\n#line {lines[0][0]} "{name}"\n{code}\n}}\n'


def includes_of(lines):
    return "".join(line.replace("<qlora/", '"qlora/').replace(".hpp>", '.hpp"') + "\n" for _, line in lines if line.startswith("#include"))


def compiles(source, suffix, *more):
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder) / f"examples{suffix}"
        file.write_text(source)
        out = ["-o", f"{folder}/examples.o"] if side == "device" else []
        done = subprocess.run([*command, *more, file, *out], capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(done.stderr)


if side == "device" and not (command := [shutil.which(command[0]) or shutil.which(f"/usr/local/cuda/bin/{command[0]}"), *command[1:]])[0]:
    print("skipped: nvcc is not there")
    sys.exit(77)

headers, documents = {}, []
for path in sorted((root / "include/qlora").rglob("*.hpp")):
    name = str(path.relative_to(root))
    lines = of_header(path)
    if lines and for_device(name, lines) == (side == "device"):
        headers[name] = lines
for path in [root / "README.md", *sorted((root / "docs").glob("*.md"))]:
    documents += [(str(path.relative_to(root)), lines) for lines in of_document(path) if for_device("", lines) == (side == "device")]
programs = [(name, lines) for name, lines in documents if any("int main(" in line for _, line in lines)]
fragments = [(name, lines) for name, lines in documents if (name, lines) not in programs]
found = {"headers": len(headers), "fragments": len(fragments), "programs": len(programs)} if side == "host" else \
    {"device": len(headers) + len(fragments)}
for kind, count in found.items():
    if count < FEWEST[kind]:
        sys.exit(f"expected at least {FEWEST[kind]} examples ({kind}), found {count}")

source = "".join(f'#include "{name.removeprefix("include/")}"\n' for name in headers)
source += "".join(includes_of(lines) for _, lines in fragments) + f'#include "{world}"\n'
source += "".join(fragment(name, lines) for name, lines in [*headers.items(), *fragments])
compiles(source, ".cpp" if side == "host" else ".cu", "-w")
if programs:
    source = "".join(includes_of(lines) for _, lines in programs) + "".join(program(name, lines) for name, lines in programs)
    # Only main may end without a return.
    compiles(source, ".cpp", "-Wall", "-Wextra", "-Wpedantic", "-Wno-return-type", "-Werror")
print("compiled: " + ", ".join(f"{count} {kind}" for kind, count in found.items()))
