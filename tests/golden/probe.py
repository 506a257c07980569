"""Prints the numbers of `a_probe_equals_that_of_scipy` in train/src/hardness/probe.rs.

usage: python tests/golden/probe.py        (numpy 2.4, scipy 1.17)

Six choices of three options, four channels: phi[i, o, j] = 2 sin(1.3 i + 2.1 o + 0.7 j (o + 1)), option 0 is right.
Minimises |w|²/2 − Σ ln softmax(phi w)[0] by scipy's BFGS and prints w, the value, and −ln p of every choice.
"""

import numpy as np
from scipy.optimize import minimize
from scipy.special import logsumexp

i, o, j = np.meshgrid(np.arange(6), np.arange(3), np.arange(4), indexing="ij")
phi = 2 * np.sin(1.3 * i + 2.1 * o + 0.7 * j * (o + 1))


def nats(w):
    scores = phi @ w
    return logsumexp(scores, axis=1) - scores[:, 0]


found = minimize(lambda w: w @ w / 2 + nats(w).sum(), np.zeros(4), method="BFGS", options={"gtol": 1e-9})
print("w", found.x.round(6).tolist())
print("value", round(float(found.fun), 6))
print("nats", nats(found.x).round(6).tolist())
