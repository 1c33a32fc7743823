"""Examples are there to be copied: each file of examples/ has at most 80 lines, and opens with a comment that says what it shows and,
further in, the command that runs it. The applications, in examples/programs/, may be longer.

    short.py EXAMPLES
"""
import pathlib
import re
import sys

folder = pathlib.Path(sys.argv[1])
longest = 80


def problems_of(path):
    lines = path.read_text().splitlines()
    if lines and lines[0].startswith("#!"):
        lines = lines[1:]
    mark = "#" if path.suffix == ".sh" else "//"
    comment = []
    for line in lines:
        if not line.startswith(mark):
            break
        comment.append(line[len(mark):])
    if len(lines) > longest:
        yield f"{len(lines)} lines; expected at most {longest}"
    if not comment or not re.match(r" \S.{20,}", comment[0]):
        yield "expected a comment that says what it shows at the top"
    commands = [line for line in comment if line.startswith("   ") and path.stem in line]
    if not commands:
        yield f"expected the command that runs it, with {path.stem} in it, indented in that comment"


files = sorted(path for path in folder.iterdir() if path.suffix in (".cpp", ".cu", ".hpp", ".sh"))
problems = [f"{path.name}: {problem}" for path in files for problem in problems_of(path)]
if len(files) < 3:
    problems.append(f"{folder}: expected examples, found {len(files)} files")
print("\n".join(problems) or f"{len(files)} examples are short and say how to run them")
sys.exit(1 if problems else 0)
