"""What nvcc made of kernels: registers, shared memory, spills, and the instructions of their main loops.

    sass.py FILE.cubin            # a line a kernel
"""
import collections
import glob
import os
import re
import shutil
import subprocess
import sys
import sysconfig

Loop = collections.namedtuple("Loop", "length opcodes texts")
Kernel = collections.namedtuple("Kernel", "name registers shared local instructions")


def tool(name):
    """cuobjdump or nvdisasm: of the toolkit, or of PyPI's nvidia-cuda-cuobjdump and nvidia-cuda-nvdisasm."""
    root = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    packages = [sysconfig.get_paths()["purelib"], *glob.glob(os.path.join(root, "build", "data", "venv", "lib", "python3*", "site-packages"))]
    places = [os.path.join(package, "nvidia", "cu13", "bin") for package in packages] + ["/usr/local/cuda/bin"]
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(places))
    if not found:
        raise FileNotFoundError(f"{name} is not there: pip install nvidia-cuda-cuobjdump nvidia-cuda-nvdisasm")
    return found


def cuobjdump(*arguments):
    folder = os.path.dirname(tool("nvdisasm"))
    environment = {**os.environ, "PATH": folder + os.pathsep + os.environ["PATH"]}
    return subprocess.run([tool("cuobjdump"), *arguments], capture_output=True, text=True, check=True, env=environment).stdout


def plain(names):
    """Mangled names as C++ has them."""
    return subprocess.run(["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True).stdout.split("\n")


def kernels(cubin):
    """A Kernel each entry function of a cubin; instructions: [(address, text)]."""
    code, name = {}, None
    for line in cuobjdump("-sass", cubin).split("\n"):
        if match := re.match(r"\s*Function : (\S+)", line):
            name = match.group(1)
            code[name] = []
        elif (match := re.match(r"\s*/\*([0-9a-f]{4,})\*/\s+(.*?)\s*;", line)) and name:
            code[name].append((int(match.group(1), 16), match.group(2)))
    usage = {}
    for line in re.sub(r":\s*\n\s*", ": ", cuobjdump("--dump-resource-usage", cubin)).split("\n"):
        if match := re.search(r"Function (\S+?):.*REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)", line):
            usage[match.group(1)] = tuple(int(x) for x in match.groups()[1:])
    made = []
    for mangled, readable in zip(code, plain(code)):
        if mangled in usage:
            registers, stack, shared, local = usage[mangled]
            # Without namespaces, the one that is spelled from the build's choices among them.
            name = re.sub(r"\bqlora::(?:(?:portable|vectors|avx|ss?se|neon)\w*::)?|\bcuda::", "", readable)
            made.append(Kernel(name, registers, shared, stack + local, code[mangled]))
    return made


def opcode(text):
    words = [word for word in text.split() if not word.startswith("@")]
    return words[0].split(".")[0]


def loops(kernel):
    """Every loop by the path that all lanes take: conditional jumps fall through, calls and slow paths of lanes that have gone
    apart are not entered."""
    code, found = dict(kernel.instructions), []
    addresses = sorted(code)
    after = dict(zip(addresses, addresses[1:]))
    target = re.compile(r"\bBRA(?:\.U)?\s+(?:U?P\w+,\s*)?(?:`\(\S+\)|(0x[0-9a-f]+))")
    for end, text in kernel.instructions:
        match = target.search(text)
        if not match or not match.group(1) or int(match.group(1), 16) >= end:
            continue
        at, opcodes, seen = int(match.group(1), 16), collections.Counter(), set()
        while at is not None and at not in seen and at in code:
            seen.add(at)
            opcodes[opcode(code[at])] += 1
            if at == end:
                found.append(Loop(len(seen), opcodes, [code[place] for place in seen]))
                break
            jump = target.search(code[at])
            if jump and jump.group(1) and not code[at].startswith("@") and "BRA.DIV" not in code[at]:
                at = int(jump.group(1), 16)
            elif opcode(code[at]) in ("EXIT", "RET") and not code[at].startswith("@"):
                break
            else:
                at = after.get(at)
    return found


def main_loop(kernel, pattern):
    """The longest loop that has an instruction of that pattern."""
    fitting = [loop for loop in loops(kernel) if any(re.search(pattern, text) for text in loop.texts)]
    return max(fitting, key=lambda loop: loop.length) if fitting else None


def has(kernel, pattern):
    return any(re.search(pattern, text) for _, text in kernel.instructions)


if __name__ == "__main__":
    for kernel in kernels(sys.argv[1]):
        loop = max(loops(kernel), key=lambda found: found.length, default=Loop(0, {}, []))
        print(f"{kernel.registers:4} registers {kernel.shared:6} bytes shared {kernel.local:4} local, loop of {loop.length:4}:  "
              f"{kernel.name[:150]}")
