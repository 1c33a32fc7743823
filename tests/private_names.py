"""What is private stays in its folder: a header of folder X mentions no private namespace but X_detail (cuda's and Jinja's are `detail`
within their own namespace, the threads' thread_detail), examples and benchmarks mention none, and a test only those of the folder that it
tests. Nor has any header more than 500 lines.

    private_names.py REPOSITORY
"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
problems = []
count = 0


def own_names(folder):
    return {f"{folder}_detail"} | ({"thread_detail"} if folder == "core" else set()) | ({"detail"} if folder in ("cuda", "text") else set())


def check(path, folder, allowed):
    global count
    for line, text in enumerate(path.read_text().splitlines(), 1):
        code = text if re.match(r"\s*///\s{2,}", text) else text.split("//")[0]
        for name in re.findall(r"(?<!rc::)\b(\w*detail)\b(?=::|\s*\{)", code):
            count += 1
            if name not in allowed:
                problems.append(f"{path.relative_to(root)}:{line}: {name} is private to another folder")


for path in sorted((root / "include/qlora").rglob("*")):
    if path.suffix not in (".hpp", ".inc"):
        continue
    place = path.relative_to(root / "include/qlora")
    folder = place.parts[0] if len(place.parts) > 1 else ""
    check(path, folder, own_names(folder))
    lines = len(path.read_text().splitlines())
    if lines > 500:
        problems.append(f"{path.relative_to(root)}: {lines} lines, more than 500")
for tree in ("examples", "bench", "tests"):
    for path in sorted((root / tree).rglob("*")):
        if path.suffix in (".hpp", ".cpp", ".cu", ".cuh"):
            folder = path.relative_to(root / tree).parts[0]
            # Programs and tests may have private namespaces of their own, named `detail`. A machine's peak is measured by the innermost kernel.
            allowed = {"detail"} | ({"linalg_detail"} if path.name == "machine.hpp" else set()) | (own_names(folder) if tree == "tests" and folder not in ("examples", "consumer", "support") else set())
            check(path, folder, allowed)
print("\n".join(problems) or f"{count} mentions of private names, each in its folder")
sys.exit(1 if problems or count < 100 else 0)
