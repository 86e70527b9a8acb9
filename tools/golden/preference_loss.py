#!/usr/bin/env python3
"""Every pair loss through torch's autograd in float64: native/test/golden/preference_loss.txt.

Inputs are multiples of 2^-10, exact in float, made by formulas that the test repeats. Written with torch 2.11.0 on the
CPU. Run from anywhere; it also writes the file's digest to MANIFEST beside it.
"""
import hashlib
import pathlib

import torch
from torch.nn.functional import logsigmoid

PAIRS = 2
ELEMENTS = 5
GRADIENT_SCALE = 0.25
KAPPA = 0.5
LABEL = torch.tensor([0.625, 0.71875], dtype=torch.float64)
LOGIT_SCALE = torch.tensor([1.0, 1.25], dtype=torch.float64)
WEIGHT = torch.tensor([1.0, 0.5], dtype=torch.float64)
#        name    beta   budget_weight safeguard_mu (negative: off)
CASES = (("DPO", 40.0, 0.0, -1.0),
         ("DPO", 40.0, 0.5, -1.0),
         ("DPO", 40.0, 0.0, 0.25),
         ("SmPO", 10.0, 0.0, -1.0),
         ("NPO", 40.0, 0.0, -1.0),
         ("DMPO", 20.0, 0.25, 0.75),
         ("IPO", 20.0, 0.0, -1.0),
         ("CaPO", 5.0, 0.0, -1.0),
         ("KTO", 40.0, 0.0, -1.0),
         ("MaPO", 0.0, 0.0, -1.0),
         ("SFT", 0.0, 0.0, -1.0),
         ("Hinge", 40.0, 0.0, -1.0),
         ("Hinge", 40.0, 0.5, 0.25),
         ("Robust", 40.0, 0.0, -1.0),
         ("Robust", 20.0, 0.25, 0.75))
BUDGET = -0.5
GAMMA = 10.0
ALPHA = 0.0625
MARGIN = 0.5
EPSILON = 0.125
DESIRABLE, UNDESIRABLE = 1.0, 1.5
MAPO_S, MAPO_T, MAPO_B = 0.5, 64.0, 0.5


def tensors():
    i = torch.arange(2 * PAIRS * ELEMENTS)
    target = ((i * 31 + 7) % 97 - 48) / 32
    reference = target + ((i * 57 + 11) % 61 - 30) / 64
    prediction = reference + ((i * 43 + 5) % 37 - 18) / 512
    return [x.double().reshape(2 * PAIRS, ELEMENTS) for x in (prediction, reference, target)]


def mapo_score(error):
    return MAPO_S * error / torch.expm1(MAPO_S * error)


def pair_losses(name, beta, winner, loser, reference_winner, reference_loser):
    """Logit and loss of each pair, from mean squared errors."""
    k = KAPPA * beta * LOGIT_SCALE
    delta = (winner - loser) - (reference_winner - reference_loser)
    u = -k * delta
    if name == "DPO":
        return u, -logsigmoid(u)
    if name == "SmPO":
        u = GAMMA * (2 * LABEL - 1) * u
        return u, -logsigmoid(u)
    if name == "NPO":
        return u, -logsigmoid(-u)
    if name == "DMPO":
        model = torch.distributions.Bernoulli(logits=u)
        aim = torch.distributions.Bernoulli(probs=torch.full_like(u, 1 - ALPHA))
        return u, torch.distributions.kl_divergence(model, aim)
    if name == "IPO":
        return u, (u - MARGIN) ** 2
    if name == "CaPO":
        return u, (LABEL - k * ((reference_winner - winner) - (reference_loser - loser))) ** 2
    if name == "KTO":
        gains = torch.cat([reference_winner - winner, reference_loser - loser])
        baseline = gains.mean().clamp(min=0).detach()
        desired = DESIRABLE * (1 - torch.sigmoid(k * (reference_winner - winner - baseline)))
        undesired = UNDESIRABLE * (1 - torch.sigmoid(-k * (reference_loser - loser - baseline)))
        return u, (desired + undesired) / 2
    if name == "MaPO":
        z = MAPO_T * (mapo_score(winner) - mapo_score(loser))
        return z, winner - MAPO_B * logsigmoid(z)
    if name == "SFT":
        return torch.zeros_like(u), winner
    if name == "Hinge":
        return u, torch.relu(1 - u)
    if name == "Robust":
        return u, (-logsigmoid(u) * (1 - EPSILON) + logsigmoid(-u) * EPSILON) / (1 - 2 * EPSILON)
    raise ValueError(name)


def run(name, beta, budget_weight, mu):
    prediction, reference, target = tensors()
    prediction.requires_grad_()
    errors = ((prediction - target) ** 2).mean(1)
    reference_errors = ((reference - target) ** 2).mean(1)
    winner, loser = errors[:PAIRS], errors[PAIRS:]
    if mu >= 0:
        g = 2 * (prediction - target).detach() / ELEMENTS
        square = (g[:PAIRS] ** 2).sum(1)
        product = (g[:PAIRS] * g[PAIRS:]).sum(1)
        factor = torch.where(product > 0, ((1 - mu) * square / (product + 1e-9)).clamp(0, 1), torch.ones_like(product))
        loser = loser.detach() + factor * (loser - loser.detach())
    logit, loss = pair_losses(name, beta, winner, loser, reference_errors[:PAIRS], reference_errors[PAIRS:])
    if budget_weight:
        k = KAPPA * beta * LOGIT_SCALE
        loss = loss + budget_weight * torch.relu(k * (winner - reference_errors[:PAIRS]) - BUDGET)
    total = GRADIENT_SCALE * (WEIGHT * loss).sum()
    total.backward()
    return logit, loss, total, prediction.grad


def lines():
    version = torch.__version__.split("+")[0]
    yield f"# pair losses by autograd in float64, torch {version}; made by tools/golden/preference_loss.py"
    yield "# case: name beta budget_weight safeguard_mu"
    for case in CASES:
        yield "case " + " ".join(str(value) for value in case)
        logit, loss, total, gradient = run(*case)
        for kind, values in (("logit", logit), ("loss", loss), ("sum", total.reshape(1)), ("gradient", gradient)):
            yield f"{kind} " + " ".join(repr(value) for value in values.detach().flatten().tolist())


def main():
    folder = pathlib.Path(__file__).resolve().parents[2] / "native/test/golden"
    folder.mkdir(parents=True, exist_ok=True)
    text = "\n".join(lines()) + "\n"
    (folder / "preference_loss.txt").write_text(text)
    manifest = folder / "MANIFEST"
    others = [line for line in manifest.read_text().splitlines() if not line.endswith("  preference_loss.txt")] \
        if manifest.exists() else []
    digest = hashlib.sha256(text.encode()).hexdigest()
    manifest.write_text(
        "\n".join(sorted(others + [f"{digest}  preference_loss.txt"], key=lambda line: line[66:])) + "\n")


if __name__ == "__main__":
    main()
