"""A file that must not compile, and whose first error must be the sentence after "expect: " in its first line. Flags of its own
stand in a second line after "flags: ": then the next error must be the last, for no pages of others follow, and the file is compiled
without the headers that are parsed already.

    refused.py FILE.cpp PARSED_HEADERS COMPILER FLAGS...
"""
import pathlib
import re
import subprocess
import sys

source, headers, command = sys.argv[1], sys.argv[2], sys.argv[3:]
text = pathlib.Path(source).read_text()
expected = re.match(r"// expect: (.+)", text)[1]
own = re.search(r"^// flags: (.+)", text, re.MULTILINE)
if not own:
    command += ["-include", headers]
good = subprocess.run([*command, "-DQLORA_TEST_GOOD", source], capture_output=True, text=True)
if good.returncode != 0:
    sys.exit(f"the file must compile with QLORA_TEST_GOOD:\n{good.stderr}")
run = subprocess.run([*command, *(own[1].split() if own else []), source], capture_output=True, text=True)
errors = [line for line in run.stderr.splitlines() if "error:" in line]
if run.returncode == 0:
    sys.exit("it compiles, but must not")
if expected not in errors[0]:
    sys.exit(f"expected the first error to hold:\n  {expected}\nfound:\n  {errors[0]}")
if own and len(errors) > 2:
    sys.exit(f"expected no pages of errors, found {len(errors)}")
print(errors[0])
