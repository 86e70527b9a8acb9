"""Golden results of one SmPO step on tiny UNets, for each inversion semantics: tools/golden/step.py in fp64.

    python tools/golden/step_golden.py     writes native/test/golden/step/{sd1,sdxl}.{json,safetensors} and SHA256SUMS

Pinned: torch 2.11.0, diffusers 0.42.1, safetensors. Only results are stored. Weights and inputs come from names by the
rules of synthetic.py; the JSON file holds digests of their expected values (SHA-256 of little-endian float32, tensors in
the order in which the JSON names them):

  reference weight NAME    tensor(NAME)
  policy weight NAME       tensor(NAME) + 2^-PERTURBATION_BITS * tensor("policy." + NAME), one-dimensional .weight: the
                           second term by the rule of biases, so that gains of norms stay near 1; all in float32
  input NAME               normal_like("step." + NAME, shape) for latents_w, latents_l, prompt_embeds, pooled: 8 pairs
  timesteps, p, time_ids   in the JSON file

"cases" are the combinations. Pairs are independent, so one set of eight serves every batch size; "batches" lists the
pairs of the batches of 1, 3 and 8. Tensors of CASE:

  CASE.noised_w ... CASE.ref_pred_l    [3, 4, h, w] float32    pairs 0 to 2, as step.py names them
  CASE.errors                          [8, 4] float64
  CASE.loss                            [8] float64             of each pair; a batch's loss is their mean
  CASE.gradient.P                      [parameters, 3] float32: of each parameter's gradient of the mean loss of batch P
                                       its L2 norm n and two projections, sum_i gradient[i] * s[i] / n, where s =
                                       uniform("projection0." + NAME, size), and "projection1."; in the order of
                                       "parameters". With a random error of relative size e, each is off by about
                                       0.6 e: s has unit variance over three.

The published algorithm in fp32 is also run and stays within 0.9 of the limits for intermediates (1e-4) and half of that for
gradients (1e-3): fp32's own rounding, kept in the JSON file as fp32_differs_by.
"""

import hashlib
import json
import math
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
import step
import synthetic
from schedule import SD15, SDXL

OUT = Path(__file__).resolve().parents[2] / "native/test/golden/step"
HEIGHT, WIDTH = 6, 5
PERTURBATION_BITS = 9
STORED_PAIRS = 3
BATCHES = {"1": [2], "3": [0, 1, 2], "8": list(range(8))}
SETTINGS = dict(objective="smpo", beta=2000.0, gamma=10.0, kappa=0.5, steps=5)
CASES = [(i, r) for i in ("v020", "v022", "exact") for r in ("every_step", "last_step")] + [("exact", "none")]
KINDS = [f"{kind}_{row}" for kind in ("noised", "target", "pred", "ref_pred") for row in "wl"]

COMMON = dict(
    sample_size=8, in_channels=4, out_channels=4, norm_num_groups=4, norm_eps=1e-5, act_fn="silu", layers_per_block=1,
    block_out_channels=[8, 16], cross_attention_dim=12,
)
FAMILIES = {
    "sd1": dict(
        COMMON,
        down_block_types=["CrossAttnDownBlock2D", "DownBlock2D"],
        up_block_types=["UpBlock2D", "CrossAttnUpBlock2D"],
        attention_head_dim=2,
    ),
    "sdxl": dict(
        COMMON,
        down_block_types=["DownBlock2D", "CrossAttnDownBlock2D"],
        up_block_types=["CrossAttnUpBlock2D", "UpBlock2D"],
        attention_head_dim=[2, 4],
        transformer_layers_per_block=[1, 2],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=10 + 6 * 4,
    ),
}


def policy_weight(name, shape):
    reference, difference = synthetic.tensor(name, shape), synthetic.tensor("policy." + name, shape)
    if len(shape) == 1 and name.endswith(".weight"):
        difference = np.float32(0.1) * synthetic.uniform("policy." + name, shape[0])
    return reference + np.float32(2.0**-PERTURBATION_BITS) * difference


def fill(unet, rule):
    """Sets the weights and returns their digest."""
    digest = hashlib.sha256()
    with torch.no_grad():
        for name, parameter in unet.named_parameters():
            value = rule(name, tuple(parameter.shape)).astype("<f4")
            digest.update(value.tobytes())
            parameter.copy_(torch.from_numpy(value))
    return digest.hexdigest()


def summaries(gradients):
    """Returns [parameters, 3]: norm and projections."""
    rows = []
    for name, gradient in gradients.items():
        gradient = gradient.double().flatten()
        norm = gradient.norm().item()
        row = [norm]
        for k in range(2):
            s = torch.from_numpy(synthetic.uniform(f"projection{k}.{name}", gradient.numel())).double()
            row.append((gradient @ s).item() / norm if norm else 0.0)
        rows.append(row)
    return torch.tensor(rows, dtype=torch.float32)


def run(family):
    from diffusers import UNet2DConditionModel

    config = FAMILIES[family]
    scheduler_config = SD15 if family == "sd1" else SDXL
    unets, digests = {}, {}
    for role, rule in dict(reference=synthetic.tensor, policy=policy_weight).items():
        unet = UNet2DConditionModel(**config).train()
        digests[role] = fill(unet, rule)
        unets[role] = {"fp32": unet, "fp64": UNet2DConditionModel(**config).train().double()}
        unets[role]["fp64"].load_state_dict(unet.state_dict())
    batch = step.batch_of(
        lambda name, shape: torch.from_numpy(synthetic.normal_like("step." + name, shape)), 8, config, HEIGHT, WIDTH
    )
    tensors, rounding = {}, {}
    expected = {}
    for inversion, renoise in CASES:
        case = f"{inversion}.{renoise}"
        options = dict(SETTINGS, inversion=inversion, renoise=renoise)

        def traced(precision, pairs):
            return step.trace(
                unets["policy"][precision], unets["reference"][precision].requires_grad_(False),
                step.scheduler_of(scheduler_config, precision), {k: v[pairs] for k, v in batch.items()}, **options,
            )

        whole = expected[case] = {}
        for size, pairs in BATCHES.items():
            whole[size] = traced("fp64", pairs)
            found = step.differences(traced("fp32", pairs), whole[size])
            worst = {}
            for name, value in found.items():
                kind = "gradients" if name.startswith("grad.") else "intermediates"
                worst[kind] = max(worst.get(kind, 0.0), value)
            rounding.setdefault(case, {})[size] = {k: float(f"{v:.2g}") for k, v in worst.items()}
            for kind, limit in step.LIMITS.items():
                assert worst[kind] < (0.9 if kind == "intermediates" else 0.5) * limit, (family, case, size, worst)
            gradients = {k[5:]: v for k, v in whole[size].items() if k.startswith("grad.")}
            tensors[f"{case}.gradient.{size}"] = summaries(gradients)
        eight = whole["8"]
        for kind in KINDS:
            tensors[f"{case}.{kind}"] = torch.stack([eight[f"{kind}.{j}"] for j in range(STORED_PAIRS)]).float()
        errors = tensors[f"{case}.errors"] = torch.stack([eight[f"errors.{j}"] for j in range(8)])
        losses = [step.pair_loss("smpo", errors[j], float(batch["p"][j].double()), 2000.0, 10.0, 0.5) for j in range(8)]
        tensors[f"{case}.loss"] = torch.stack(losses)
        for size, pairs in BATCHES.items():
            assert math.isclose(tensors[f"{case}.loss"][pairs].mean(), whole[size]["loss"], rel_tol=1e-12)
        print(family, case, "losses", " ".join(f"{x:.3f}" for x in losses), rounding[case])
    # The limits distinguish the cases, and reject a result that slightly exceeds them.
    for a in expected:
        for b in expected:
            assert (a == b) == step.report(step.differences(expected[a]["3"], expected[b]["3"]), step.LIMITS, quiet=True), (a, b)
    good = expected["exact.every_step"]["3"]
    for name in ("noised_w.1", "errors.2", "loss", "grad.conv_in.weight"):
        limit = step.LIMITS["gradients" if name.startswith("grad.") else "intermediates"]
        for factor, passes in ((0.9, True), (1.1, False)):
            assert step.report(step.differences({**good, name: good[name] * (1 + factor * limit)}, good), step.LIMITS, quiet=True) == passes
    assert not step.report(step.differences({k: v for k, v in good.items() if k != "loss"}, good), step.LIMITS, quiet=True)

    save_file(tensors, OUT / f"{family}.safetensors")
    inputs = {k: v for k, v in batch.items() if k not in ("timesteps", "p", "time_ids")}
    unet = unets["policy"]["fp32"]
    config = {k: v for k, v in unet.config.items() if not k.startswith("_")}
    document = dict(
        made_by="tools/golden/step_golden.py",
        settings=SETTINGS,
        perturbation_bits=PERTURBATION_BITS,
        config=dict(config, _class_name="UNet2DConditionModel"),
        scheduler=scheduler_config,
        timesteps=batch["timesteps"].tolist(),
        p=[round(x, 6) for x in batch["p"].tolist()],
        time_ids=batch["time_ids"].int().tolist() if "time_ids" in batch else None,
        inputs={k: list(v.shape) for k, v in inputs.items()},
        batches=BATCHES,
        cases=[dict(name=f"{i}.{r}", inversion=i, renoise=r) for i, r in CASES],
        sha256=dict(digests, **{k: hashlib.sha256(v.numpy().astype("<f4").tobytes()).hexdigest() for k, v in inputs.items()}),
        fp32_differs_by=rounding,
        parameters={n: list(p.shape) for n, p in unet.named_parameters()},
    )
    lines = [f" {json.dumps(k)}: {json.dumps(v, default=list)}" for k, v in document.items()]
    (OUT / f"{family}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(family, len(document["parameters"]), "parameters,", (OUT / f"{family}.safetensors").stat().st_size, "bytes")


if __name__ == "__main__":
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    for family in sys.argv[1:] or FAMILIES:
        run(family)
    synthetic.write_sums(OUT)
