"""Golden results of linear heads: a reward from pairs by torch's LBFGS, a classifier of two classes by scikit-learn.

    python tools/golden/heads.py     writes java/src/test/resources/org/smpo/objective/heads/{heads.json,SHA256SUMS}

Pinned: torch 2.11.0, scikit-learn 1.9.1, float64. Nothing of smpo is used here.

"pairs": rows human and game are winner minus loser, with an offset each; head v minimises
  mean_human softplus(-(a + v.x)) + weight * mean_game softplus(-(a + v.x)) + l2 / 2 |v|^2
"classes": rows of two classes of unequal sizes and a common mean far from 0; w and b minimise
  1/2 mean_first softplus(-(w.x + b)) + 1/2 mean_second softplus(w.x + b) + l2 / 2 |w|^2
"temperature": differences winner minus loser; slope minimises mean softplus(-slope d)
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

sys.path.insert(0, str(Path(__file__).parent))
import synthetic

OUT = Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/objective/heads"
SEED = 20231106


def rounded(values):
    return np.round(values, 3)


def pairs(random):
    width, truth = 6, random.normal(size=6)
    groups = {}
    for name, count in (("human", 40), ("game", 25)):
        rows = rounded(random.normal(size=(count, width)))
        offsets = rounded(random.normal(size=count))
        wrong = random.random(count) > 1 / (1 + np.exp(-(rows @ truth + offsets)))
        rows[wrong] *= -1
        offsets[wrong] *= -1
        groups[name] = (offsets, rows)
    weight, l2 = 0.1, 0.05
    (ha, hx), (ga, gx) = ((torch.tensor(a), torch.tensor(x)) for a, x in groups.values())
    v = torch.zeros(width, dtype=torch.float64, requires_grad=True)
    solver = torch.optim.LBFGS(
        [v], max_iter=500, tolerance_grad=1e-13, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def loss():
        softplus = torch.nn.functional.softplus
        return softplus(-(ha + hx @ v)).mean() + weight * softplus(-(ga + gx @ v)).mean() + l2 / 2 * v @ v

    def closure():
        solver.zero_grad()
        value = loss()
        value.backward()
        return value

    solver.step(closure)
    closure()
    assert v.grad.abs().max() < 1e-11, v.grad
    return {
        "human": {"offsets": ha.tolist(), "rows": hx.tolist()},
        "game": {"offsets": ga.tolist(), "rows": gx.tolist()},
        "weight": weight,
        "l2": l2,
        "head": v.tolist(),
        "loss": loss().item(),
    }


def classes(random):
    width, sizes, l2 = 5, (30, 12), 0.02
    first, second = (
        rounded(random.normal(size=(count, width)) + shift + np.arange(width) * 2.0)
        for count, shift in zip(sizes, (0.4, -0.3))
    )
    x = np.concatenate([first, second])
    y = np.concatenate([np.ones(len(first)), np.zeros(len(second))])
    model = LogisticRegression(
        C=1 / (l2 * len(x)), class_weight="balanced", solver="newton-cholesky", tol=1e-13, max_iter=500
    ).fit(x, y)
    return {
        "first": first.tolist(),
        "second": second.tolist(),
        "l2": l2,
        "head": model.coef_[0].tolist(),
        "intercept": float(model.intercept_[0]),
        "probabilities": model.predict_proba(x)[:, 1].tolist(),
    }


def temperature(random):
    d = rounded(random.normal(size=31) + 0.3)
    slope = brentq(lambda u: np.mean(d * expit(-d * u)), 1e-6, 1e3, xtol=1e-15, rtol=1e-14)
    return {"differences": d.tolist(), "slope": slope, "loss": float(np.mean(np.logaddexp(0, -slope * d)))}


def main():
    random = np.random.default_rng(SEED)
    OUT.mkdir(parents=True, exist_ok=True)
    text = json.dumps(
        {"pairs": pairs(random), "classes": classes(random), "temperature": temperature(random)}, separators=(",", ":")
    )
    (OUT / "heads.json").write_text(text + "\n")
    synthetic.write_sums(OUT)


main()
