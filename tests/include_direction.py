"""Includes go only up the list of folders (include/qlora/README.md): a file includes its own folder or those above. Beyond that, some
files reach less: a tokenizer compiles no product, an optimizer no layer, the training loop no PCRE2.

    include_direction.py include/qlora
"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
order = re.findall(r"^\| `(\w+)/` \|", (root / "README.md").read_text(), re.MULTILINE)
folders = [path.name for path in root.iterdir() if path.is_dir()]
problems = [f"README.md: the folder {name}/ is missing in the list" for name in folders if name not in order]
problems += [f"README.md: the folder {name}/ does not exist" for name in order if name not in folders]
# What a file or a folder must not reach, by any way.
apart = [("text/", ("nn/", "linalg/", "optim/")), ("optim/", ("nn/",)), ("io/", ("nn/", "optim/")), ("train/", ("text/regex.hpp",))]
includes = {}
count = 0
for header in sorted(root.rglob("*.hpp")):
    place = header.relative_to(root)
    own = place.parts[0] if len(place.parts) > 1 else None
    for line, text in enumerate(header.read_text().splitlines(), 1):
        if not (match := re.match(r'#include ["<]qlora/([\w./]+)[">]', text)):
            continue
        count += 1
        target = match[1]
        includes.setdefault(str(place), []).append(target)
        if not (root / target).is_file():
            problems.append(f"{place}:{line}: {target} does not exist")
        elif own and "/" not in target and target != "version.hpp":
            problems.append(f"{place}:{line}: includes the entry point {target}")
        elif own and "/" in target and order.index(target.split("/")[0]) > order.index(own):
            problems.append(f"{place}:{line}: {own}/ includes {target}, which lies below it")
for begin in includes:
    way = {begin: begin}
    for each in (waiting := [begin]):
        for target in includes.get(each, []):
            if target not in way:
                way[target] = f"{way[each]} -> {target}"
                waiting.append(target)
    problems += [way[end] for start, ends in apart if begin.startswith(start) for end in way if end.startswith(ends)]
print("\n".join(problems) or f"{count} includes, all upwards")
sys.exit(1 if problems or count == 0 else 0)
