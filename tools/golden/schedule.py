"""Golden files for java/src/test/resources/org/smpo/schedule: diffusers' schedules, inverse DDIM and samplers.

Made with Python 3.11, torch 2.11.0 (more_samplers.json: 2.12.1), numpy 2.4.6, diffusers 0.42.1.
Run from anywhere: python schedule.py
The build and the tests do not run this script; they read its output, whose digests are in MANIFEST.

diffusers keeps its tables in float32. Its code runs in double here, so that a difference reveals a wrong formula and not
rounding: inside the scheduler modules, the names torch.float32 and np.float32 refer to the 64-bit types. The results of the
unpatched code are kept where they matter ("float32").
"""

import hashlib
import importlib
import inspect
import json
import pathlib

import diffusers
import numpy as np
import torch

HERE = pathlib.Path(__file__).resolve()
OUT = HERE.parents[2] / "java/src/test/resources/org/smpo/schedule"
DIFFUSERS = "0.42.1"


class InDouble:
    """A module in which float32 means float64."""

    def __init__(self, module):
        self._module = module
        self.float32 = module.float64

    def __getattr__(self, name):
        return getattr(self._module, name)


def in_double(name):
    """Returns a second copy of a scheduler class, whose module computes in double."""
    path = inspect.getsourcefile(getattr(diffusers, name))
    package = "diffusers.schedulers"
    module_name = f"{package}.{pathlib.Path(path).stem}_in_double"
    spec = importlib.util.spec_from_file_location(module_name, path)
    module = importlib.util.module_from_spec(spec)
    module.__package__ = package
    spec.loader.exec_module(module)
    module.torch = InDouble(torch)
    module.np = InDouble(np)
    return getattr(module, name)


SD15 = {  # runwayml/stable-diffusion-v1-5
    "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
    "steps_offset": 1, "trained_betas": None, "clip_sample": False,
}
SD21 = {  # stabilityai/stable-diffusion-2-1
    "_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "beta_end": 0.012, "beta_schedule": "scaled_linear",
    "beta_start": 0.00085, "clip_sample": False, "num_train_timesteps": 1000, "prediction_type": "v_prediction",
    "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None,
}
SDXL = {  # stabilityai/stable-diffusion-xl-base-1.0
    "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0", "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "beta_start": 0.00085, "clip_sample": False, "interpolation_type": "linear",
    "num_train_timesteps": 1000, "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "leading", "trained_betas": None,
    "use_karras_sigmas": False,
}
ZERO_SNR = {  # as in models tuned according to arXiv 2305.08891
    "_class_name": "DDIMScheduler", "beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085,
    "clip_sample": False, "num_train_timesteps": 1000, "prediction_type": "v_prediction",
    "rescale_betas_zero_snr": True, "set_alpha_to_one": False, "steps_offset": 1, "timestep_spacing": "trailing",
}
COSINE = {
    "_class_name": "DDIMScheduler", "beta_schedule": "squaredcos_cap_v2", "clip_sample": False,
    "set_alpha_to_one": False, "num_train_timesteps": 1000,
}
LINEAR = {"_class_name": "DDIMScheduler", "clip_sample": False}
TRAINED = {
    "_class_name": "DDIMScheduler", "clip_sample": False, "num_train_timesteps": 5,
    "trained_betas": [0.1, 0.15, 0.2, 0.3, 0.5],
}


def toy(x, t):
    """A smooth function of x and t instead of a UNet; ToyModel.java has the same."""
    return 0.7 * torch.sin(1.3 * x + 0.002 * float(t)) + 0.2 * x


def fresh_noise(i):
    """A fixed sequence instead of the normal noise of step i."""
    return float(np.cos(2.5 * i + 1.1))


def scalar(value):
    return torch.tensor([[value]], dtype=torch.float64)


def write(name, value):
    OUT.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"made_by": f"tools/golden/{HERE.name}", "diffusers": DIFFUSERS, **value}, indent=None)
    # One case per line, so that a changed case is one changed line.
    text = text.replace('[{"', '[\n{"').replace('}, {"', '},\n{"').replace("}]}", "}\n]}")
    (OUT / name).write_text(text + "\n")


def class_defaults():
    names = [
        "DDIMScheduler", "DDIMInverseScheduler", "DDPMScheduler", "DPMSolverMultistepScheduler",
        "EulerDiscreteScheduler", "EulerAncestralDiscreteScheduler", "LMSDiscreteScheduler", "PNDMScheduler",
        "UniPCMultistepScheduler",
    ]
    cases = []
    for name in names:
        parameters = inspect.signature(getattr(diffusers, name).__init__).parameters
        defaults = {k: p.default for k, p in parameters.items() if k not in ("self", "kwargs")}
        defaults = {k: str(v) if v == -float("inf") else v for k, v in defaults.items()}
        cases.append({"class": name, "defaults": defaults})
    write("class_defaults.json", {"cases": cases})


def noise_schedules():
    cases = []
    for name, config in [
        ("sd15", SD15), ("sd21", SD21), ("sdxl", SDXL), ("zero_snr", ZERO_SNR), ("cosine", COSINE),
        ("linear", LINEAR), ("trained", TRAINED),
    ]:
        double = in_double(config["_class_name"]).from_config(config)
        single = getattr(diffusers, config["_class_name"]).from_config(config)
        count = len(double.betas)
        at = [t for t in (0, 1, 2, 3, 4, 100, 201, 401, 500, 601, 801, 901, 998, 999) if t < count]
        alphas = double.alphas_cumprod.tolist()
        if name == "sdxl":
            assert abs(alphas[601] - 0.159816437446) < 1e-12
        cases.append({
            "name": name, "config": config, "timesteps": at,
            "betas": [double.betas.tolist()[t] for t in at],
            "alphas_cumprod": [alphas[t] for t in at],
            "alphas_cumprod_float32": [single.alphas_cumprod.tolist()[t] for t in at],
        })
    write("noise_schedules.json", {"cases": cases})


def invert(scheduler, x, renoise):
    levels = []
    for t in scheduler.timesteps:
        out = toy(x, t)
        if renoise:
            out = (out + toy(scheduler.step(out, t, x).prev_sample, t)) / 2
        x = scheduler.step(out, t, x).prev_sample
        levels.append(x.item())
    return levels


def inversions_v022():
    cases = []
    for prediction, base in [("epsilon", SD15), ("v_prediction", SD21), ("v_prediction", ZERO_SNR)]:
        for spacing in ("leading", "trailing"):
            if base is ZERO_SNR and spacing == "leading":
                continue
            for n in (3, 5, 7, 10, 50):
                config = {**base, "prediction_type": prediction, "timestep_spacing": spacing}
                double = in_double("DDIMInverseScheduler").from_config(config)
                double.set_timesteps(n)
                case = {"config": config, "steps": n, "timesteps": double.timesteps.tolist()}
                for renoise in (False, True):
                    case["every_step" if renoise else "none"] = invert(double, scalar(0.8), renoise)
                single = diffusers.DDIMInverseScheduler.from_config(config)
                single.set_timesteps(n)
                case["every_step_float32"] = invert(single, scalar(0.8).float(), True)[-1]
                cases.append(case)
    write("inversions_v022.json", {"x0": 0.8, "cases": cases})


def inversions_v020():
    """diffusers 0.20's inverse scheduler, rewritten, because releases before 0.22 do not run with this torch; checked
    against coefficients derived by hand from its source."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    alphas = np.cumprod(1 - betas)

    def grid(n, spacing):
        if spacing == "leading":
            ratio = 1000 // n
            points = (np.arange(n) * ratio).round().astype(np.int64) + 1
        else:
            ratio = 1000 / n
            points = np.round(np.arange(1000, 0, -ratio)[::-1]).astype(np.int64) - 1
        rolled = np.roll(points, 1)
        rolled[0] = int(rolled[1] - ratio) if n > 1 else int(points[0] - ratio)
        return rolled

    def step(out, s, x, n, prediction):
        source = alphas[s] if s >= 0 else alphas[0]
        target = alphas[s + 1000 // n]
        if prediction == "epsilon":
            clean, noise = (x - (1 - source) ** 0.5 * out) / source**0.5, out
        else:
            clean = source**0.5 * x - (1 - source) ** 0.5 * out
            noise = source**0.5 * out + (1 - source) ** 0.5 * x
        return target**0.5 * clean + (1 - target) ** 0.5 * noise

    known = {  # (n, s): (A, B) derived by hand, to the printed digits
        (5, -199): (0.999572559, 0.012136900), (5, 1): (0.868001855, 0.462021564),
        (5, 201): (0.749823471, 0.386382039), (5, 401): (0.614754005, 0.449597021),
        (5, 601): (0.478203025, 0.543228462), (10, 1): (0.945782612, 0.288097146),
        (10, 401): (0.806410650, 0.238853291), (10, 801): (0.619037461, 0.385352518),
    }
    for (n, s), (a, b) in known.items():
        assert abs(step(0.0, s, 1.0, n, "epsilon") - a) < 1e-9 and abs(step(1.0, s, 0.0, n, "epsilon") - b) < 1e-9

    cases = []
    for prediction in ("epsilon", "v_prediction"):
        for spacing in ("leading", "trailing"):
            for n in (3, 5, 7, 10, 50):
                case = {"prediction_type": prediction, "timestep_spacing": spacing, "steps": n}
                case["timesteps"] = [int(s) for s in grid(n, spacing)]
                for renoise in (False, True):
                    x, levels = 0.8, []
                    for s in case["timesteps"]:
                        out = toy(scalar(x), s).item()
                        if renoise:
                            out = (out + toy(scalar(step(out, s, x, n, prediction)), s).item()) / 2
                        x = step(out, s, x, n, prediction)
                        levels.append(float(x))
                    case["every_step" if renoise else "none"] = levels
                cases.append(case)
    write("inversions_v020.json", {"x0": 0.8, "cases": cases})


def sample(scheduler, n, eta):
    scheduler.set_timesteps(n)
    if hasattr(scheduler, "set_begin_index"):
        scheduler.set_begin_index(0)
    dtype = scheduler.betas.dtype
    x = (scalar(0.8) * float(scheduler.init_noise_sigma)).to(dtype)
    levels = []
    for i, t in enumerate(scheduler.timesteps):
        out = toy(scheduler.scale_model_input(x, t), t)
        if eta:
            x = scheduler.step(out, t, x, eta=eta, variance_noise=scalar(fresh_noise(i)).to(dtype)).prev_sample
        else:
            x = scheduler.step(out, t, x).prev_sample
        levels.append(x.item())
    return levels


def samplers():
    euler, dpm = "EulerDiscreteScheduler", "DPMSolverMultistepScheduler"
    runs = [
        ("PNDMScheduler", SD15, {}, 0), ("PNDMScheduler", SD21, {}, 0),
        ("PNDMScheduler", SDXL, {"timestep_spacing": "trailing", "set_alpha_to_one": True}, 0),
        ("PNDMScheduler", SD21, {"timestep_spacing": "linspace"}, 0),
        ("DDIMScheduler", SD15, {}, 0), ("DDIMScheduler", SD21, {}, 0), ("DDIMScheduler", SD15, {}, 0.3),
        ("DDIMScheduler", SD21, {}, 1.0), ("DDIMScheduler", ZERO_SNR, {}, 0), ("DDIMScheduler", ZERO_SNR, {}, 0.5),
        ("DDIMScheduler", SDXL, {"timestep_spacing": "linspace", "set_alpha_to_one": True}, 0),
        ("DDIMScheduler", SD15, {"prediction_type": "sample"}, 0.3),
        (euler, SDXL, {}, 0), (euler, SD15, {}, 0), (euler, SD21, {}, 0), (euler, ZERO_SNR, {}, 0),
        (euler, SDXL, {"use_karras_sigmas": True}, 0), (euler, SD21, {"use_karras_sigmas": True}, 0),
        (euler, SDXL, {"final_sigmas_type": "sigma_min", "prediction_type": "v_prediction"}, 0),
        (euler, SDXL, {"prediction_type": "sample", "timestep_spacing": "trailing"}, 0),
        (dpm, SD15, {}, 0), (dpm, SDXL, {}, 0), (dpm, SD21, {}, 0), (dpm, ZERO_SNR, {}, 0),
        (dpm, SDXL, {"use_karras_sigmas": True}, 0), (dpm, SD21, {"use_karras_sigmas": True}, 0),
        (dpm, SDXL, {"final_sigmas_type": "sigma_min", "lower_order_final": False}, 0),
        (dpm, SDXL, {"final_sigmas_type": "sigma_min", "euler_at_final": True}, 0),
        (dpm, SDXL, {"final_sigmas_type": "sigma_min"}, 0),
        (dpm, SD15, {"use_karras_sigmas": True, "final_sigmas_type": "sigma_min"}, 0),
        (dpm, SD15, {"solver_order": 1, "prediction_type": "sample"}, 0),
        (dpm, COSINE, {"lambda_min_clipped": -5.1}, 0),
    ]
    cases = []
    for name, base, changes, eta in runs:
        config = {**base, **changes}
        run = []
        for n in (1, 2, 3, 5, 20, 25, 50):
            double = in_double(name).from_config(config)
            single = getattr(diffusers, name).from_config(config)
            levels = sample(double, n, eta)
            last_single = sample(single, n, eta)[-1]
            assert torch.allclose(single.timesteps.double(), double.timesteps.double(), atol=1e-2)
            run.append({
                "steps": n, "initial_noise_scale": float(double.init_noise_sigma),
                "timesteps": [int(t) if int(t) == t else float(t) for t in double.timesteps],
                "levels": levels, "last_float32": last_single,
            })
        cases.append({"class": name, "config": config, "eta": eta, "runs": run})
    write("samplers.json", {"x": 0.8, "cases": cases})


def more_samplers():
    """The samplers that came after samplers.json: ancestral Euler, UniPC, PNDM with Runge-Kutta steps."""
    ancestral, unipc, pndm = "EulerAncestralDiscreteScheduler", "UniPCMultistepScheduler", "PNDMScheduler"
    prk = {"skip_prk_steps": False}
    karras = {"use_karras_sigmas": True}
    runs = [
        (ancestral, SDXL, {}), (ancestral, SD15, {}), (ancestral, SD21, {}), (ancestral, ZERO_SNR, {}),
        (ancestral, SDXL, {"timestep_spacing": "trailing", "prediction_type": "v_prediction"}),
        (unipc, SD15, {}), (unipc, SDXL, {}), (unipc, SD21, {}), (unipc, ZERO_SNR, {}), (unipc, SDXL, karras),
        (unipc, SD21, {**karras, "final_sigmas_type": "sigma_min"}),
        (unipc, SDXL, {"solver_order": 3}), (unipc, SD21, {"solver_order": 3, "timestep_spacing": "linspace"}),
        (unipc, SDXL, {"solver_order": 1, "prediction_type": "sample"}),
        (unipc, SDXL, {"solver_order": 3, "lower_order_final": False, "final_sigmas_type": "sigma_min"}),
        (unipc, SDXL, {"solver_type": "midpoint"}),
        (unipc, SDXL, {"solver_type": "bh1", "final_sigmas_type": "sigma_min", "timestep_spacing": "trailing"}),
        (pndm, SD15, prk), (pndm, SD21, prk), (pndm, SD15, {**prk, "timestep_spacing": "linspace"}),
        (pndm, SDXL, {**prk, "timestep_spacing": "trailing", "set_alpha_to_one": True}),
    ]
    cases = []
    for name, base, changes in runs:
        config = {**base, **changes}
        run = []
        counts = (4, 5, 7, 20, 25, 50) if name == pndm else (1, 2, 3, 5, 20, 25, 50)
        if config.get("use_karras_sigmas") and config.get("final_sigmas_type") == "sigma_min":
            counts = counts[1:]  # one step of diffusers ends where it began: its last level is the first
        for n in counts:
            double, single = in_double(name), getattr(diffusers, name)
            modules = [importlib.import_module(single.__module__), double.step.__globals__]
            levels = []
            for scheduler, namespace in ((double, modules[1]), (single, vars(modules[0]))):
                count = iter(range(10**6))
                namespace["randn_tensor"] = lambda shape, dtype, **_: torch.full(  # noqa: B023
                    shape, fresh_noise(next(count)), dtype=dtype)
                own = scheduler.from_config(config)
                levels.append((own, sample(own, n, 0)))
            (double, in_64), (single, in_32) = levels
            assert torch.allclose(single.timesteps.double(), double.timesteps.double(), atol=1e-2)
            run.append({
                "steps": n, "initial_noise_scale": float(double.init_noise_sigma),
                "timesteps": [int(t) if int(t) == t else float(t) for t in double.timesteps],
                "levels": in_64, "last_float32": in_32[-1],
            })
        cases.append({"class": name, "config": config, "runs": run})
    write("more_samplers.json", {"x": 0.8, "cases": cases})


if __name__ == "__main__":
    assert diffusers.__version__ == DIFFUSERS, diffusers.__version__
    class_defaults()
    noise_schedules()
    inversions_v022()
    inversions_v020()
    samplers()
    more_samplers()
    files = sorted(OUT.glob("*.json"))
    (OUT / "MANIFEST").write_text(
        "".join(f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n" for f in files))
