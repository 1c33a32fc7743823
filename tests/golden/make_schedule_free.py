#!/usr/bin/env python3
"""Makes schedule_free.json: schedule-free AdamW by algorithm 1 of Defazio et al. 2024, for tests/optim.

In Python's doubles, with the sequences z and x of the paper, where the library keeps z and y only. The loss is a quadratic
one, so that the gradient depends on the point y at which it is taken; rates change from step to step as a warm-up makes them.

    make_schedule_free.py schedule_free.json
"""
import json
import math
import sys

SIZE, STEPS, SHOWN = 6, 80, (1, 2, 10, 80)
RATE, BETA1, BETA2, EPSILON = 0.05, 0.9, 0.99, 1e-8


def curve(i):
    return 0.5 + 0.25 * i


def start(i):
    return 2 - 0.75 * i


def rate_at(t):
    return RATE * min(1, t / 8)


def train(decay):
    z = [start(i) for i in range(SIZE)]
    x, v, squares, shown = list(z), [0.0] * SIZE, 0.0, {}
    for t in range(1, STEPS + 1):
        y = [(1 - BETA1) * z[i] + BETA1 * x[i] for i in range(SIZE)]
        g = [curve(i) * (y[i] - 1) for i in range(SIZE)]
        v = [BETA2 * v[i] + (1 - BETA2) * g[i] ** 2 for i in range(SIZE)]
        rate = rate_at(t) * math.sqrt(1 - BETA2 ** t)
        z = [z[i] - rate * g[i] / (math.sqrt(v[i]) + EPSILON) - rate * decay * y[i] for i in range(SIZE)]
        squares += rate ** 2
        share = rate ** 2 / squares
        x = [(1 - share) * x[i] + share * z[i] for i in range(SIZE)]
        if t in SHOWN:
            shown[str(t)] = {"iterate": [(1 - BETA1) * z[i] + BETA1 * x[i] for i in range(SIZE)], "average": x}
    return shown


with open(sys.argv[1], "w") as out:
    json.dump({"start": [start(i) for i in range(SIZE)], "curve": [curve(i) for i in range(SIZE)], "steps": STEPS,
               "rates": [rate_at(t) for t in range(1, STEPS + 1)], "beta1": BETA1, "beta2": BETA2, "epsilon": EPSILON,
               "runs": [{"weight_decay": decay, "shown": train(decay)} for decay in (0, 0.1)]}, out, indent=1)
    out.write("\n")
