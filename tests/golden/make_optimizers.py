#!/usr/bin/env python3
"""Makes optimizers.json: 100 steps of optimizers on 4,396 numbers, for tests/optim.

32-bit AdamW comes from torch.optim.AdamW; everything else from an emulation in NumPy, in float32, of bitsandbytes' blockwise
kernels as tests/golden/README.md's version of them works: state is decoded, updated, applied to the parameter and coded
again by the nearest value of the dynamic map times the block's largest magnitude (blocks of 256); a code whose value would
have another sign than its number is moved by one. Gradients are whole numbers of a linear congruential generator, so that the
test makes the same ones.

    make_optimizers.py optimizers.json
"""
import json
import sys

import numpy as np
import torch

SIZE, STEPS, SHOWN = 4396, 100, (1, 10, 100)
F = np.float32


def dynamic_map(signed):
    """The map as torch's linspace on processors with fused multiply-add spaces it (docs/design.md)."""
    values = []
    for i in range(7):
        intervals = 2 ** i if signed else 2 ** (i + 1)
        edges = torch.linspace(0.1, 1, intervals + 1, dtype=torch.float32).numpy()
        means = (edges[:-1] + edges[1:]) / F(2)
        scaled = F(10 ** (i - 6)) * means
        values += list(scaled) + (list(-scaled) if signed else [])
    return np.sort(np.array(values + [0, 1], dtype=F))


MAPS = {True: dynamic_map(True), False: dynamic_map(False)}
MIDDLES = {signed: (MAPS[signed][:-1].astype(np.float64) + MAPS[signed][1:]) / 2 for signed in MAPS}


class Coded:
    """A state in blocks of 256 codes."""

    def __init__(self, signed):
        self.signed, self.codes, self.absmax = signed, np.zeros(SIZE, np.int64), np.zeros((SIZE + 255) // 256, F)

    def read(self):
        return MAPS[self.signed][self.codes] * np.repeat(self.absmax, 256)[:SIZE]

    def write(self, x):
        for block in range(len(self.absmax)):
            part = x[256 * block:256 * (block + 1)]
            largest = np.abs(part).max()
            self.absmax[block] = largest
            scaled = part / largest if largest > 0 else part * 0
            codes = np.searchsorted(MIDDLES[self.signed], scaled.astype(np.float64))
            if self.signed:
                wrong = (np.signbit(MAPS[True][codes]) != np.signbit(part)) & (part != 0)
                codes = np.where(wrong, np.where(part > 0, codes + 1, codes - 1), codes)
            self.codes[256 * block:256 * (block + 1)] = codes


class Plain:
    def __init__(self, _):
        self.x = np.zeros(SIZE, F)

    def read(self):
        return self.x

    def write(self, x):
        self.x = x.astype(F)


def adamw(p, g, s, t, lr, wd):
    b1, b2, eps = F(0.9), F(0.999), 1e-8
    c1, c2 = 1 - 0.9 ** t, np.sqrt(1 - 0.999 ** t)
    p = p * F(1 - lr * wd)
    m, v = b1 * s[0] + F(1 - 0.9) * g, b2 * s[1] + F(1 - 0.999) * g * g
    return p + F(-lr * c2 / c1) * (m / (np.sqrt(v) + F(eps * c2))), (m, v)


def adam(p, g, s, t, lr, wd):
    return adamw(p, g + F(wd) * p, s, t, lr, 0)


def lion(p, g, s, t, lr, wd):
    p = p * F(1 - lr * wd)
    p = p - F(lr) * np.sign(F(0.9) * s[0] + F(1 - 0.9) * g)
    return p, (F(0.99) * s[0] + F(1 - 0.99) * g,)


def sgd(p, g, s, t, lr, wd):
    g = g + F(wd) * p
    m = g if t == 1 else F(0.9) * s[0] + g
    return p - F(lr) * m, (m,)


def ademamix(p, g, s, t, lr, wd):
    m1, m2 = F(0.9) * s[0] + F(1 - 0.9) * g, F(0.9999) * s[1] + F(1 - 0.9999) * g
    v = F(0.999) * s[2] + F(1 - 0.999) * g * g
    c1, c2 = F(1 - 0.9 ** t), F(np.sqrt(1 - 0.999 ** t))
    p = p * F(1 - lr * wd)
    return p - F(lr) * ((m1 / c1 + F(5) * m2) / (np.sqrt(v) / c2 + F(1e-8))), (m1, m2, v)


RULES = {"adamw": (adamw, (True, False)), "adam": (adam, (True, False)), "lion": (lion, (True,)), "sgd": (sgd, (True,)),
         "ademamix": (ademamix, (True, True, False))}


class Numbers:
    """x = 1664525 x + 1013904223 modulo 2^32; a gradient is (its upper 16 bits - 32768) / 2^20."""

    def __init__(self):
        self.x = 1

    def array(self):
        out = np.empty(SIZE, F)
        for i in range(SIZE):
            self.x = (1664525 * self.x + 1013904223) % 2 ** 32
            out[i] = F((self.x >> 16) - 32768) / F(2 ** 20)
        return out


def bits(x):
    return [int(b) for b in x[::37].astype(F).view(np.uint32)]


results = {}
for name, (rule, signs) in RULES.items():
    for kind in (Coded, Plain):
        numbers = Numbers()
        p = numbers.array() * F(8)
        state = [kind(signed) for signed in signs]
        shown = {}
        for t in range(1, STEPS + 1):
            p, new = rule(p, numbers.array(), [s.read() for s in state], t, 1e-3, 0.01)
            for s, x in zip(state, new):
                s.write(x)
            if t in SHOWN:
                shown[str(t)] = bits(p)
        results[name + ("8bit" if kind is Coded else "")] = shown
numbers = Numbers()
p = torch.nn.Parameter(torch.from_numpy(numbers.array() * F(8)))
optimizer = torch.optim.AdamW([p], lr=1e-3, weight_decay=0.01)
shown = {}
for t in range(1, STEPS + 1):
    p.grad = torch.from_numpy(numbers.array())
    optimizer.step()
    if t in SHOWN:
        shown[str(t)] = bits(p.detach().numpy())
results["torch-adamw"] = shown
with open(sys.argv[1], "w") as out:
    json.dump({"size": SIZE, "learning_rate": 1e-3, "weight_decay": 0.01, "every": 37, "torch": torch.__version__,
               "numpy": np.__version__, "parameters": results}, out)
