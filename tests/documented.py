"""Public declarations have a doc comment: every class, struct, enum, concept, function, alias and variable that stands in a namespace
without "detail" in its name, and every public member function of those classes. Every public class
says in its comment, or in the one that opens its header, what threads may do with it.

One comment serves overloads of one name, aliases or variables of a group, and members, that follow it without an empty line. Forward
declarations, specializations, deduction guides, constructors, operators, overriders and friends need none.

    documented.py include/qlora [FOLDER ...]
"""
import pathlib
import re
import sys


def blanked(source):
    """The source with comments, literals and preprocessor lines as blanks, of the same length; and the lines that hold doc comments."""
    pattern = r'//[^\n]*|/\*.*?\*/|R"(\w*)\(.*?\)\1"|"(?:\\.|[^"\\\n])*"|(?<![0-9a-fA-F])\'(?:\\.|[^\'\\\n])+\'|^[ \t]*#(?:\\\n|[^\n])*'
    blank = lambda match: re.sub(r"[^\n]", " ", match[0])
    return re.sub(pattern, blank, source, flags=re.MULTILINE | re.DOTALL)


def group_end(text, at, opening, closing):
    """The place behind the bracket that closes the one at `at`."""
    depth = 0
    while at < len(text):
        depth += (text[at] == opening) - (text[at] == closing and text[at - 1] not in ("-", "="))
        at += 1
        if depth == 0:
            break
    return at


def without_constraint(head):
    """A declaration without the requires clause that it begins with."""
    if not re.match(r"\s*requires\b", head):
        return head
    at = head.index("requires") + len("requires")
    while True:
        at += len(head[at:]) - len(head[at:].lstrip())
        if re.match(r"requires\b", head[at:]):
            at += len("requires")
            at += re.match(r"\s*", head[at:]).end()
            if head[at:at + 1] == "(":
                at = group_end(head, at, "(", ")")
            if "{" in head[at:]:
                at = group_end(head, head.index("{", at), "{", "}")
        elif head[at:at + 1] == "(":
            at = group_end(head, at, "(", ")")
        else:
            at += re.match(r"!?[\w:]*", head[at:]).end()
            if head[at:at + 1] == "<":
                at = group_end(head, at, "<", ">")
        more = re.match(r"\s*(&&|\|\|)", head[at:])
        if not more:
            return head[at:]
        at += more.end()


def without_templates(head):
    """A declaration without its template parameters and what it requires of them."""
    while match := re.match(r"\s*template\s*(?=<)", head):
        head = without_constraint(head[group_end(head, match.end(), "<", ">"):])
    return head.strip()


def kind_and_name(head):
    """What a declaration is and what it is called; None where no comment is asked for."""
    explicit = re.match(r"\s*template\s*<\s*>", head)
    head = re.sub(r"\[\[.*?\]\]|\balignas\s*\([^()]*\)|\bQLORA_\w+(?!\w*\()|\bextern\b|\binline\b|\bstatic\b", " ", without_templates(head)).strip()
    if not head or explicit or re.match(r"static_assert|using\s+(namespace|enum)|using\s+[\w:]+$|asm\b|template\b", head) or "->" in head and re.match(r"\w+\s*\(", head):
        return None
    if match := re.match(r"(class|struct|union|enum(?:\s+class)?)\s+(\w+)\s*(.*)", head, re.DOTALL):
        if match[3].startswith("<"):
            return None  # a specialization
        return match[1].split()[0], match[2]
    if match := re.match(r"(concept|using|typedef)\s+(\w+)", head):
        return match[1], match[2]
    before = head.split("=")[0] if not re.search(r"operator\s*[=<>!+\-*/]*=", head) else head
    if match := re.search(r"(operator\s*\S+?|[\w:]+)\s*\(", before):
        # Members that are defined outside of their class have their comment in it.
        return None if match[1].startswith("operator") or "::" in match[1] else ("function", match[1])
    match = re.search(r"(\w+)\s*(?:\[[^\]]*\])*\s*$", before)
    return ("variable", match[1]) if match else None


def declarations(source):
    """(kind, name, first line, last line, is definition) of what stands in public namespaces."""
    code, found, scopes = blanked(source), [], []
    start, at, round_depth = 0, 0, 0

    def closing(at):
        depth = 0
        while True:
            depth += (code[at] == "{") - (code[at] == "}")
            if depth == 0:
                return at
            at += 1

    def record(end, definition):
        head = code[start:end]
        if all(scopes) and (known := kind_and_name(head)):
            first = code.count("\n", 0, start + len(head) - len(head.lstrip())) + 1
            found.append((*known, first, code.count("\n", 0, end) + 1, definition))

    while at < len(code):
        letter = code[at]
        round_depth += (letter in "([") - (letter in ")]")
        if letter == "{" and round_depth == 0:
            head = code[start:at]
            if match := re.match(r"\s*(?:inline\s+)?namespace\b([\w\s:]*)$", head):
                scopes.append(bool(match[1].strip()) and "detail" not in match[1])
                start = at + 1
            else:
                plain = without_templates(head)
                end = closing(at)
                goes_on = re.match(r"(class|struct|union|enum)\b", plain) or "=" in re.sub(r"operator\s*\S+", "", plain.split("(")[0]) or \
                    re.search(r"\brequires(\s*\([^()]*\))?\s*$", head)
                if goes_on:
                    if re.match(r"(class|struct|union|enum)\b", plain):
                        record(at, True)
                        # What stands between a class's brace and its semicolon is not looked at.
                        end = code.index(";", end)
                        start = end + 1
                    at = end
                else:
                    if re.match(r"[^()]*$", plain.split("{")[0]):  # a variable with braces
                        record(at, True)
                        end = code.index(";", end)
                    else:
                        record(at, True)
                    start = end + 1
                    at = end
        elif letter == "{":
            at = closing(at)
        elif letter == "}":
            scopes.pop()
            start = at + 1
        elif letter == ";" and round_depth == 0:
            head = without_templates(code[start:at])
            if not re.match(r"(class|struct|union|enum(\s+class)?)\s+[\w:\s]+$", head):
                record(at, False)
            start = at + 1
        at += 1
    return found


def members(source, line):
    """(name, first line, last line) of the public member functions of the class whose brace is on that line."""
    code, found = blanked(source), []
    at = code.index("{", sum(len(text) + 1 for text in source.splitlines()[:line - 1])) + 1
    public = re.search(r"\b(class|struct)\b[^{;]*$", code[:at - 1])[1] == "struct"
    start, round_depth = at, 0

    def record(end):
        head = code[start:end]
        plain = without_templates(head)
        known = kind_and_name(head) if public and "(" in plain else None
        if known and known[0] == "function" and not re.search(r"=\s*(default|delete)\s*$|~|\(\*\w+\)|\bfriend\b|\boverride\b", head) and \
                not re.match(r"(class|struct|enum|using|static_assert)\b", plain):
            found.append((known[1], code.count("\n", 0, end - len(head.lstrip())) + 1, code.count("\n", 0, end) + 1))

    while code[at] != "}":
        letter = code[at]
        round_depth += (letter in "([") - (letter in ")]")
        if (access := re.match(r"(public|private|protected)\s*:(?!:)", code[at:])) and not re.match(r"[\w]", code[at - 1]):
            public, at = access[1] == "public", at + access.end()
            start = at
            continue
        if letter == "{":
            end = group_end(code, at, "{", "}")
            # A member that is initialized in a constructor's list has a comma or another brace behind its own.
            if round_depth == 0 and code[end:].lstrip()[:1] not in (",", "{"):
                record(at)
                start = code.index(";", end) + 1 if code[end:].lstrip()[:1] == ";" else end
            at = max(start, end)
            continue
        if letter == ";" and round_depth == 0:
            record(at)
            start = at + 1
        at += 1
    return found


def opening_of(lines):
    return " ".join(line for line in lines[:next((i for i, line in enumerate(lines) if not line.startswith("///")), len(lines))])


def comment_above(lines, first):
    """The doc comment that ends above line `first`; preprocessor lines may stand between."""
    at = first - 2
    while at >= 0 and lines[at].lstrip().startswith("#"):
        at -= 1
    text = []
    while at >= 0 and re.match(r"\s*///(?!<)", lines[at]):
        text.insert(0, lines[at].strip())
        at -= 1
    return " ".join(text)


def problems_of(source):
    """(line, sentence) of what lacks, and how many declarations were looked at."""
    lines, problems, documented = source.splitlines(), [], set()
    before, count = None, 0
    for kind, name, first, last, definition in declarations(source):
        count += 1
        comment = comment_above(lines, first)
        beside = any("///<" in line for line in lines[first - 1:last])
        group = before and before[2] and not any(not line.strip() for line in lines[before[3]:first - 1]) and \
            ((name == before[1]) or (kind == before[0] and kind in ("using", "variable")))
        fine = bool(comment or beside or group or (kind, name) in documented)
        if fine:
            documented.add((kind, name))
        else:
            problems.append((first, f"{kind} {name} has no doc comment"))
        if kind == "class" and not re.search(r"\bthread", comment + opening_of(lines), re.IGNORECASE):
            problems.append((first, f"class {name}: its comment does not say what threads may do with it"))
        before = (kind, name, fine, last)
        if kind in ("class", "struct") and definition:
            above = None
            for member, begin, end in (all_members := members(source, last)):
                follows = above and all(text.strip() for text in lines[above - 1:begin - 1])
                if member != name and not comment_above(lines, begin) and not any("///<" in text for text in lines[begin - 1:end]) and not follows:
                    problems.append((begin, f"{name}::{member} has no doc comment"))
                elif member != name:
                    above = end
            count += len(all_members)
    return problems, count


SAMPLE = """/// Opens.
#pragma once
namespace a {
class Known;
struct Bare { int x; };
/// Threads may share it.
class Told : public Known {
 public:
  Told() : a_{1}, b_(2) {}
  /// Known.
  int f() { return 1; }
  int g() const { return a_; }

  int h(int x = 3) const;
  template <class T>
  void i(T t) {
    if (t) j();
  }
  int value_ = {3};
  void (*pointer)(int);

 private:
  void j();
  int a_, b_;
};
/// Says nothing of them.
class Untold {};
/// One.
void one(int x = 3);
void one(float x) {}
inline int two() { return '{'; }
template <class T, class U = int>
  requires requires(T t) { t.x; }
T three(T t) { return t; }
template <class T>
concept Four = requires(T t) {
  { t.x } -> std::same_as<int>;
};
template <>
struct Bare<int> {};
/// A group.
using Five = int;
using Six = float;

using Seven = int;
inline constexpr int eight = 8;  ///< beside

inline constexpr int nine{9};
bool operator==(Told, Told);
inline int Told::g() { return 1; }
namespace detail { void hidden(); }
}  // namespace a
"""


def check_itself():
    found = [re.sub(r": its comment.*| has no doc comment", "", sentence) for _, sentence in problems_of(SAMPLE)[0]]
    expected = ["struct Bare", "Told::h", "Told::i", "class Untold", "function two", "function three", "concept Four", "using Seven", "variable nine"]
    assert found == expected, f"expected {expected}, found {found}"


def main():
    check_itself()
    root = pathlib.Path(sys.argv[1])
    folders = sys.argv[2:] or [path.name for path in sorted(root.iterdir()) if path.is_dir()]
    count, all_problems = 0, []
    for folder in folders:
        headers = sorted((root / folder).rglob("*.hpp"))
        if not headers:
            all_problems.append(f"{folder}/: no header is there")
        for header in headers:
            problems, looked_at = problems_of(header.read_text())
            count += looked_at
            all_problems += [f"{header.relative_to(root)}:{line}: {sentence}" for line, sentence in problems]
    print("\n".join(all_problems) or f"{count} public declarations of {len(folders)} folders have doc comments")
    sys.exit(1 if all_problems or count == 0 else 0)


if __name__ == "__main__":
    main()
