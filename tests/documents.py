"""What the documents point to is there: relative links, files in backquotes, and every page of docs/ in docs/README.md's table. README.md names
the packages that scripts/setup.sh and tests/run.sh install.

    documents.py REPOSITORY
"""
import pathlib
import re
import sys

root = pathlib.Path(sys.argv[1])
folders = ("bench", "cmake", "docs", "examples", "include", "scripts", "tests")
pages = [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").glob("*.md")), root / "include/qlora/README.md"]
problems, count = [], 0


def words_between(text, begin, end):
    """The words of a text between two others, without a shell's line ends."""
    start = text.index(begin) + len(begin)
    return text[start:text.index(end, start)].replace("\\\n", " ").split()


for page in pages:
    name, text = page.relative_to(root), page.read_text()
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if re.match(r"\w+:", link):
            continue
        count += 1
        if not (page.parent / link).exists():
            problems.append(f"{name}: the link {link} leads nowhere")
    for path in re.findall(rf"`((?:{'|'.join(folders)})/[\w./-]+)`", text):
        count += 1
        # A name in capitals stands for what a reader puts there.
        if not (root / path).exists() and not re.search(r"\b[A-Z]{4,}\b(?!\.md)", path):
            problems.append(f"{name}: {path} is not there")
table = (root / "docs/README.md").read_text()
problems += [f"docs/README.md: {page.name} is missing in the table" for page in pages
             if page.parent.name == "docs" and page.name != "README.md" and f"({page.name})" not in table]

readme, setup, run = ((root / path).read_text() for path in ("README.md", "scripts/setup.sh", "tests/run.sh"))
told = set(words_between(readme, "sudo apt-get install", "cmake --preset"))
installed = set(words_between(setup, "build_packages=(", ")"))
# Those are for the two scripts' downloads.
if told != installed - {"ca-certificates", "python3", "python3-venv", "unzip"}:
    problems.append(f"README.md: expected the packages of scripts/setup.sh, {sorted(installed)}, found {sorted(told)}")
for package in words_between(run, 'install_packages "${build_packages[@]}"', "\n"):
    if not re.search(rf"\b{re.escape(package)}\b", readme):
        problems.append(f"README.md: tests/run.sh installs {package} too")

print("\n".join(problems) or f"{count} links and paths lead somewhere")
sys.exit(1 if problems or count < 50 else 0)
