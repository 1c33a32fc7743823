"""A Markdown summary of a check on a device: each phase's outcome, and this library's times beside others' of the same run.

    report.py results.jsonl
"""
import json
import sys

with open(sys.argv[1]) as file:
    results = [json.loads(line) for line in file if line.strip()]

for result in [r for r in results if "multiprocessors" in r][:1]:
    print(f"Device: {result['device']}, driver {result['driver']:g}, runtime {result['runtime']:g}, {result['multiprocessors']:g} "
          f"multiprocessors, L2 {result['l2_bytes'] / 2**20:g} MiB, pageable memory access {result['pageable_memory_access']:g}, "
          f"concurrent managed access {result['concurrent_managed_access']:g}\n")
print("| phase | outcome | s |\n|---|---|---|")
for result in results:
    if "phase" in result:
        print(f"| {result['phase']} | {result['outcome']} | {result.get('seconds', '')} |")

ours = [r for r in results if "kernel" in r and "peer" not in r]
peers = {}
for r in results:
    if "kernel" in r and "peer" in r:
        peers.setdefault((r["kernel"], r["case"]), []).append(r)
if ours:
    print("\n| kernel | case | us | GB/s | TFLOP/s | others' us (times ours) |\n|---|---|---|---|---|---|")
    for r in ours:
        # A peer's case holds for ours with other number types, too.
        found = peers.get((r["kernel"], r["case"]), []) or peers.get((r["kernel"], r["case"].split(", float x")[0]), [])
        beside = "; ".join(f"{p['peer']} {p['us']:.1f} ({p['us'] / r['us']:.2f})" for p in found)
        print(f"| {r['kernel']} | {r['case']} | {r['us']:.1f} | {r['bytes'] / r['us'] / 1e3:.0f} | {r['flops'] / r['us'] / 1e6:.1f} | {beside} |")

steps = [r for r in results if "step" in r]
if steps:
    print("\n| step | who | tokens | rank | ms | tokens/s | peak GiB | parts |\n|---|---|---|---|---|---|---|---|")
    for r in steps:
        who = r.get("peer", "this library") + (" with checkpointing" if r.get("checkpoint") else "")
        parts = (f"{r['up_ms']:.0f} up, {r['compute_ms']:.0f} compute, {r['down_ms']:.0f} down, {r['optimizer_ms']:.0f} optimizer"
                 if "up_ms" in r else r.get("versions", ""))
        print(f"| {r['step']} | {who} | {r['tokens']:g} | {r['rank']:g} | {1000 * r['tokens'] / r['tokens_per_s']:.0f} | "
              f"{r['tokens_per_s']:.0f} | {r['peak_gib']:.1f} | {parts} |")
