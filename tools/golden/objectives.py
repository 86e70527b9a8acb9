"""Makes java/src/test/resources/org/smpo/objective/pair_losses.json: pair losses to 17 digits.

Values are computed from the formulas with mpmath at 60 digits and gradients by mpmath's numerical differentiation at that
precision, so neither shares code, formula rearrangements or rounding with the Java implementation. Inputs are doubles.

Run: python tools/golden/objectives.py   (mpmath 1.3.0)
"""
import hashlib
import json
import pathlib
import random

import mpmath
from mpmath import mp, mpf

mp.dps = 60
OUT = pathlib.Path(__file__).resolve().parents[2] / "java/src/test/resources/org/smpo/objective"

log, exp = mpmath.log, mpmath.exp


def softplus(x):
    return log(1 + exp(x)) if x < 0 else x + log(1 + exp(-x))


def sigmoid(x):
    return 1 / (1 + exp(-x))


def phi(y):
    return mpf(1) if y == 0 else y / mpmath.expm1(y)


def delta(e):
    return (e[0] - e[1]) - (e[2] - e[3])


def dpo(e, beta, kappa):
    return softplus(kappa * beta * delta(e))


def npo(e, beta, kappa):
    return softplus(-kappa * beta * delta(e))


def smpo(e, beta, gamma, kappa, label):
    return softplus(kappa * beta * gamma * (2 * label - 1) * delta(e))


def dmpo(e, beta, kappa, alpha):
    u = -kappa * beta * delta(e)
    p, q = sigmoid(u), sigmoid(-u)
    return p * (log(p) - log(1 - alpha)) + q * (log(q) - log(alpha))


def ipo(e, beta, kappa, margin):
    return (-kappa * beta * delta(e) - margin) ** 2


def capo(e, beta, reward_margin, logit_scale):
    return (reward_margin - beta * logit_scale * ((e[2] - e[0]) - (e[3] - e[1]))) ** 2


def kto(e, beta, desirable_weight, undesirable_weight, mean_gain):
    winner = desirable_weight * (1 - sigmoid(beta * (e[2] - e[0] - mean_gain)))
    loser = undesirable_weight * (1 - sigmoid(-beta * (e[3] - e[1] - mean_gain)))
    return (winner + loser) / 2


def mapo(e, scale, temperature, weight):
    z = temperature * (phi(scale * e[0]) - phi(scale * e[1]))
    return e[0] + weight * softplus(-z)


def sft(e):
    return e[0]


LOSSES = {"smpo": smpo, "dpo": dpo, "inpo": dpo, "npo": npo, "dmpo": dmpo, "ipo": ipo, "capo": capo, "kto": kto,
          "mapo": mapo, "sft": sft}


def number(x):
    return float(mpmath.nstr(x, 20))


def case(method, errors, **scalars):
    f = LOSSES[method]
    args = {k: mpf(v) for k, v in scalars.items()}
    e = [mpf(x) for x in errors]
    winner = mpmath.diff(lambda x: f([x, *e[1:]], **args), e[0])
    loser = mpmath.diff(lambda x: f([e[0], x, *e[2:]], **args), e[1])
    return {"method": method, "errors": errors, **scalars, "loss": number(f(e, **args)), "winner_gradient": number(winner),
            "loser_gradient": number(loser)}


SECTION = [0.1000, 0.1200, 0.1002, 0.1199]


def draw(rng, method):
    # Policy and reference errors lie close together, as in training; a few pairs are far apart.
    scale = rng.choice([1e-4, 1e-3, 1e-2])
    base = [rng.uniform(0.005, 1.2), rng.uniform(0.005, 1.2)]
    errors = [abs(base[0] + rng.gauss(0, scale)), abs(base[1] + rng.gauss(0, scale)), *base]
    beta = rng.choice([500.0, 2000.0, 5000.0])
    kappa = rng.choice([0.5, 1.0])
    match method:
        case "smpo":
            return case(method, errors, beta=beta, gamma=rng.choice([1.0, 10.0]), kappa=kappa, label=rng.uniform(0.3, 0.8))
        case "dpo" | "inpo" | "npo":
            return case(method, errors, beta=beta, kappa=kappa)
        case "dmpo":
            return case(method, errors, beta=beta, kappa=kappa, alpha=rng.choice([1e-6, 0.01, 0.3, 0.9]))
        case "ipo":
            return case(method, errors, beta=beta, kappa=kappa, margin=rng.choice([0.5, -1.0, 0.0]))
        case "capo":
            return case(method, errors, beta=beta, reward_margin=rng.uniform(-1, 1), logit_scale=rng.uniform(0, 1))
        case "kto":
            gain = max(0.0, (errors[2] - errors[0] + errors[3] - errors[1]) / 2)
            return case(method, errors, beta=beta, desirable_weight=rng.choice([1.0, 1.33]),
                        undesirable_weight=rng.choice([1.0, 0.5]), mean_gain=gain)
        case "mapo":
            far = rng.random() < 0.3
            return case(method, [rng.uniform(0, 4) if far else errors[0], errors[1], 0.0, 0.0],
                        scale=rng.choice([0.5, 1.0, 3.0]), temperature=rng.choice([10.0, 1000.0]),
                        weight=rng.choice([0.1, 1.0]))
        case "sft":
            return case(method, errors)


def main():
    gain = max(mpf(0), ((mpf(SECTION[2]) - mpf(SECTION[0])) + (mpf(SECTION[3]) - mpf(SECTION[1]))) / 2)
    cases = [
        case("dpo", SECTION, beta=5000.0, kappa=0.5),
        case("dpo", SECTION, beta=5000.0, kappa=1.0),
        case("npo", SECTION, beta=5000.0, kappa=0.5),
        case("smpo", SECTION, beta=5000.0, gamma=10.0, kappa=0.5, label=0.6),
        case("smpo", SECTION, beta=5000.0, gamma=10.0, kappa=0.5, label=0.5),
        case("dmpo", SECTION, beta=2000.0, kappa=0.5, alpha=0.01),
        case("kto", SECTION, beta=5000.0, desirable_weight=1.0, undesirable_weight=1.0, mean_gain=float(gain)),
        case("mapo", [*SECTION[:2], 0.0, 0.0], scale=0.5, temperature=1000.0, weight=0.1),
        case("ipo", SECTION, beta=5000.0, kappa=0.5, margin=0.5),
        case("capo", SECTION, beta=1000.0, reward_margin=0.2, logit_scale=1.0),
        case("sft", SECTION),
    ]
    rng = random.Random(20250602)
    for method in LOSSES:
        cases += [draw(rng, method) for _ in range(3 if method == "sft" else 24)]
    mp.dps = 60
    derivative = lambda y: number(mpmath.diff(phi, mpf(y))) if y != 0 else -0.5
    points = [-30.0, -2.5, -0.41, -0.4, -0.39, -0.1, -1e-3, -1e-8, 0.0, 1e-300, 1e-12, 1e-6, 1e-3, 0.02, 0.1, 0.25, 0.39,
              0.399999, 0.4, 0.400001, 0.5, 1.0, 3.0, 10.0, 100.0, 700.0]
    phis = []
    for y in points:
        value = phi(mpf(y))
        # At 1e-300 a difference quotient has no digits at 60: the series' first terms are exact there.
        slope = -0.5 if 0 < abs(y) < 1e-20 else derivative(y)
        phis.append({"y": y, "phi": number(value), "derivative": slope})
    OUT.mkdir(parents=True, exist_ok=True)
    lines = ",\n".join("    " + json.dumps(c) for c in cases)
    tail = ",\n".join("    " + json.dumps(c) for c in phis)
    text = '{\n  "pair_losses": [\n' + lines + '\n  ],\n  "phi": [\n' + tail + "\n  ]\n}\n"
    data = text.encode()
    (OUT / "pair_losses.json").write_bytes(data)
    manifest = {"maker": "tools/golden/objectives.py", "mpmath": mpmath.__version__, "seed": 20250602,
                "sha256": {"pair_losses.json": hashlib.sha256(data).hexdigest()}}
    (OUT / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n")


if __name__ == "__main__":
    main()
