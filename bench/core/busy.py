"""A fine-tune of 64 x 1 tokens on a quiet machine, beside busy neighbours on every processor, and under a CPU quota of half of them.

    busy.py MODEL TEXT [--program build/examples/finetune]... [--steps 30] [--rounds 3]

Several programs are measured in turn, for comparison. Each figure is the median over rounds of a run's median tokens a second, the
first two steps left out, with the processor time a step takes. The quota needs a cgroup that may be made (version 2 or 1, usually as
root) and is left out where it may not. Ends with 1 when, beside the neighbours, the first program takes more than 2.5 times as long.
"""
import argparse
import contextlib
import csv
import os
import pathlib
import resource
import statistics
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser()
parser.add_argument("model")
parser.add_argument("text")
parser.add_argument("--program", action="append", help="finetune, or another build of it")
parser.add_argument("--steps", type=int, default=30)
parser.add_argument("--rounds", type=int, default=3)
options = parser.parse_args()
programs = options.program or ["build/examples/finetune"]
processors = len(os.sched_getaffinity(0))


@contextlib.contextmanager
def neighbours():
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processors)]
    try:
        time.sleep(0.5)
        yield None
    finally:
        for process in busy:
            process.kill()
            process.wait()


@contextlib.contextmanager
def quota():
    """A cgroup with half of the processors' time; gives the file that a process enters it by."""
    period, second = 100000, pathlib.Path("/sys/fs/cgroup/cgroup.controllers").exists()
    group = pathlib.Path("/sys/fs/cgroup" if second else "/sys/fs/cgroup/cpu") / f"qlora-busy-{os.getpid()}"
    group.mkdir()
    try:
        if second:
            (group / "cpu.max").write_text(f"{processors * period // 2} {period}")
        else:
            (group / "cpu.cfs_period_us").write_text(str(period))
            (group / "cpu.cfs_quota_us").write_text(str(processors * period // 2))
        yield group / "cgroup.procs"
    finally:
        group.rmdir()


def measure(program, procs):
    """(median tokens a second, processor seconds a step)"""
    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "out"
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([program, "--model", options.model, "--data", options.text, "--output", out, "--format", "nf4-dq", "--seq-len", "64",
                        "--batch", "1", "--steps", str(options.steps)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                       preexec_fn=(lambda: procs.write_text(str(os.getpid()))) if procs else None)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        with open(out / "metrics.csv", newline="") as file:
            rates = [float(row["tokens_per_second"]) for row in csv.DictReader(file)][2:]
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return statistics.median(rates), spent / options.steps


states = {"alone": contextlib.nullcontext, f"beside {processors} busy processes": neighbours, f"quota of {processors / 2:g}": quota}
found = {(program, state): [] for program in programs for state in states}
for _ in range(options.rounds):
    for program in programs:
        for state, around in states.items():
            try:
                with around() as procs:
                    found[program, state].append(measure(program, procs))
            except OSError as error:
                print(f"left out, {state}: {error}", file=sys.stderr)

print(f"{options.rounds} rounds of {options.steps} steps of 64 x 1 tokens on {processors} processors; tokens/s, processor seconds a step\n")
print("| |", " | ".join(states), "|")
print("|---|" + "---|" * len(states))
for program in programs:
    cells = []
    for state in states:
        rates = found[program, state]
        cells.append(f"{statistics.median(r for r, _ in rates):.0f}, {statistics.median(s for _, s in rates):.2f}" if rates else "")
    print(f"| {program} |", " | ".join(cells), "|")
idle, beside = (statistics.median(rate for rate, _ in found[programs[0], state]) for state in list(states)[:2])
print(f"\nBeside the neighbours {programs[0]} takes {idle / beside:.2f} times as long as alone.")
sys.exit(0 if idle / beside <= 2.5 else 1)
