#!/usr/bin/env python3
"""Statistics of eval/ and tournament/ as scipy, statsmodels and scikit-learn compute them.

    pip install scipy statsmodels scikit-learn
    make_statistics.py >statistics.json

Rankings with and without ties, labels of two and of many judges, Shapiro and Wilk's test on samples of several
distributions and sizes; inputs are made by a seeded generator and stand in the file beside the results.
"""
import json
import sys

import numpy as np
import scipy
import scipy.stats
import sklearn
import sklearn.metrics
import statsmodels
from statsmodels.stats.inter_rater import aggregate_raters, fleiss_kappa

rng = np.random.default_rng(7)


def rankings():
    cases = [([1, 2, 3, 4], [1, 2, 3, 4]), ([1, 2, 3, 4], [4, 3, 2, 1]), ([12, 2, 1, 12, 2], [1, 4, 7, 1, 0])]
    for n, levels in [(8, None), (25, 5), (200, 12), (1000, None)]:
        a, b = rng.normal(size=n), rng.normal(size=n)
        b = 0.6 * a + b
        if levels:
            a, b = (np.floor(x * levels / 6) for x in (a, b))
        cases.append((np.round(a, 4).tolist(), np.round(b, 4).tolist()))
    return [{"a": a, "b": b, "tau": scipy.stats.kendalltau(a, b).statistic, "rho": scipy.stats.spearmanr(a, b).statistic}
            for a, b in cases]


def two_judges():
    cases = [([0, 1, 0, 1], [0, 1, 1, 1])]
    for n, labels in [(30, 2), (200, 3), (500, 7)]:
        a = rng.integers(0, labels, n)
        b = np.where(rng.random(n) < 0.6, a, rng.integers(0, labels, n))
        cases.append((a.tolist(), b.tolist()))
    return [{"a": a, "b": b, "kappa": sklearn.metrics.cohen_kappa_score(a, b)} for a, b in cases]


def many_judges():
    cases = []
    for n, judges, labels in [(10, 14, 5), (60, 3, 3), (200, 2, 3)]:
        truth = rng.integers(0, labels, (n, 1))
        said = np.where(rng.random((n, judges)) < 0.5, truth, rng.integers(0, labels, (n, judges)))
        counts, _ = aggregate_raters(said, n_cat=labels)
        cases.append({"counts": counts.tolist(), "kappa": fleiss_kappa(counts)})
    return cases


def sample(n, kind):
    """Numbers that eval/normality_test.cpp makes in the same way."""
    u = lambda k: ((np.arange(n) * (7919 + 2 * k) + 131 * k) % 10007) / 10007.0
    total = sum((u(k) for k in range(1, 12)), u(0)) - 6
    return {"normal": total, "uniform": u(0), "heavy": total / (0.3 + u(12))}[kind]


def normality():
    cases = []
    for n in [3, 4, 5, 11, 12, 50, 576, 2000, 5000]:
        for kind in ["normal", "uniform", "heavy"]:
            w, p = scipy.stats.shapiro(sample(n, kind))
            cases.append({"n": n, "of": kind, "w": float(w), "p": float(p)})
    return cases


json.dump({"versions": {"numpy": np.__version__, "scipy": scipy.__version__, "statsmodels": statsmodels.__version__,
                        "scikit-learn": sklearn.__version__},
           "rankings": rankings(), "two_judges": two_judges(), "many_judges": many_judges(), "normality": normality()},
          sys.stdout)
