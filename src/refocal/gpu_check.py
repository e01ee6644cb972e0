"""What ``refocal gpu-check`` does: the Triton kernels on a real GPU, against float64 and the clock.

The kernels were written without a GPU, so this is how numbers about them come to be: it compares
loss and gradient with the formula in float64, and times a training step beside torch's own losses,
the field's usual recipe and a plain copy.
"""

from __future__ import annotations

import datetime
import importlib.metadata
import importlib.util
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from refocal.files import write_text
from refocal.losses import sigmoid_focal_loss, softmax_focal_loss

Loss = Callable[..., Tensor]

DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# Units in the last place, of each element by itself: a large value must not hide a wrong tail. A
# softmax' margins are rounded relative to the range of its logits, and approximate instructions
# add to that; half precision adds one rounding, which the interpreter truncates.
ALLOWED = {torch.float32: 256.0, torch.bfloat16: 1.1, torch.float16: 1.1}


class Sizes(NamedTuple):
    """How much is checked and timed.

    Attributes:
        elements: of a sigmoid that is timed.
        rows: of a softmax that is timed.
        checked: elements of a sigmoid, and logits of a softmax, that are checked.
        classes: of a softmax that is checked.
        repeats: of a timed step.
    """

    elements: int = 2**25
    rows: int = 2**14
    checked: int = 100_003
    classes: tuple[int, ...] = (2, 10, 80, 1000, 5000, 20_000)
    repeats: int = 50


# ---------------------------------------------------------------------------------------------
# correctness


def cases(
    sizes: Sizes, generator: torch.Generator
) -> Iterator[tuple[str, Loss, Tensor, Tensor, Any]]:
    """Yield name, loss, float64 logits, targets and keywords of everything that is checked."""
    count = sizes.checked
    logits = torch.empty(count, dtype=torch.float64).uniform_(-30, 30, generator=generator)
    hard = torch.rand(count, generator=generator) < 0.2
    soft = torch.rand(count, generator=generator)
    for gamma in (0.0, 0.5, 1.0, 2.0, 5.0, (1.0, 2.5)):
        yield f"hard, gamma {gamma}", sigmoid_focal_loss, logits, hard, {"gamma": gamma}
        yield f"soft, gamma {gamma}", sigmoid_focal_loss, logits, soft, {"gamma": gamma}
    wide = logits[: count // 7 * 7].view(-1, 7)
    labels = hard[: wide.numel()].view_as(wide)
    per_class = torch.linspace(0.1, 0.9, 7)
    keywords: dict[str, Any] = {
        "alpha": per_class,
        "gamma": 4 * per_class,
        "sample_weight": torch.rand(len(wide), generator=generator),
        "label_smoothing": 0.1,
    }
    yield "per class, weighted, smoothed", sigmoid_focal_loss, wide, labels, keywords
    yield "detached", sigmoid_focal_loss, logits, hard, {"detach_modulator": True}
    ignored = hard.byte().masked_fill(soft < 0.1, 255)
    yield "ignored", sigmoid_focal_loss, logits, ignored, {"ignore_index": 255}
    for classes in sizes.classes:
        rows = max(2, count // classes)
        scores = torch.randn(rows, classes, dtype=torch.float64, generator=generator) * 5
        index = torch.randint(0, classes, (rows,), generator=generator)
        weights = torch.rand(classes, generator=generator)
        named: dict[str, Any] = {"alpha": weights, "gamma": 1.5}
        yield f"softmax of {classes:,}", softmax_focal_loss, scores, index, named
        probabilities = torch.rand(rows, classes, generator=generator)
        probabilities /= probabilities.sum(1, keepdim=True)
        name = f"probabilities of {classes:,}"
        yield name, softmax_focal_loss, scores, probabilities, named
    pixels = torch.randn(3, 19, 40, 50, dtype=torch.float64, generator=generator) * 5
    index = torch.randint(0, 19, (3, 40, 50), generator=generator)
    yield "softmax of pixels", softmax_focal_loss, pixels, index, {}


def check(device: torch.device, impl: str, sizes: Sizes) -> list[dict[str, Any]]:
    """Return a row per case, dtype and reduction: the largest errors in ulps."""
    rows = []
    for name, loss, logits, targets, keywords in cases(sizes, torch.Generator().manual_seed(0)):
        there = {
            key: value.to(device) if isinstance(value, Tensor) else value
            for key, value in keywords.items()
        }
        labels = targets.to(device)
        for dtype in DTYPES:
            for reduction in ("mean", "none"):
                settings = {**there, "reduction": reduction}
                errors = errors_of(loss, logits.to(device, dtype), labels, settings, impl)
                rows.append(
                    {
                        "case": name,
                        "dtype": str(dtype).removeprefix("torch."),
                        "reduction": reduction,
                        **errors,
                    }
                )
    return rows


def errors_of(
    loss: Loss,
    logits: Tensor,
    targets: Tensor,
    settings: dict[str, Any],
    impl: str,
    upstream: float = 1.0,
) -> dict[str, Any]:
    """Return the largest errors of loss and gradient in ulps, and whether they are allowed."""
    keywords = {key: value for key, value in settings.items() if key != "impl"}
    found = step(loss, logits, targets, {**keywords, "impl": impl}, upstream)
    # in float64 the plain torch text runs, on the same rounded logits
    exact = {**keywords, "impl": "eager"}
    true = step(loss, logits.double(), targets, exact, upstream)
    value_type = logits.dtype if settings.get("reduction") == "none" else torch.float32
    errors = (
        ulps(found[0], true[0], value_type, true[0]),
        ulps(
            found[1],
            true[1],
            logits.dtype,
            _terms(loss, logits, targets, exact, true[1], upstream),
        ),
    )
    allowed = (ALLOWED[value_type], ALLOWED[logits.dtype])
    return {
        "loss_error": errors[0],
        "gradient_error": errors[1],
        # not `>`: a NaN must not pass
        "passed": all(one <= most for one, most in zip(errors, allowed, strict=True)),
    }


def step(
    loss: Loss, logits: Tensor, targets: Tensor, settings: dict[str, Any], upstream: float = 1.0
) -> list[Tensor]:
    """Return loss and gradient, in float64."""
    logits = logits.detach().requires_grad_()
    value = loss(logits, targets, **settings)
    (slope,) = torch.autograd.grad(value, logits, torch.full_like(value, upstream))
    return [value.detach().double(), slope.double()]


def ulps(found: Tensor, true: Tensor, dtype: torch.dtype, scale: Tensor) -> float:
    """Return the largest error of an element, in units in the last place of ``scale`` at it.

    Infinities must be met, and so must NaN. What a dtype holds as a subnormal number may be lost.
    """
    info = torch.finfo(dtype)
    beyond = ~(true.abs() <= info.max)
    if beyond.any():
        same = (found == true.clamp(-torch.inf, torch.inf)) | (found.isnan() & true.isnan())
        same |= found.isinf() & (found.sign() == true.sign())
        if not bool(same[beyond].all()):
            return float("nan")
    _, exponent = torch.frexp(torch.where(beyond, 1.0, scale))
    least = 2.0**-24 if dtype == torch.float16 else info.smallest_normal
    spacing = torch.ldexp(torch.full_like(scale, info.eps / 2), exponent).clamp(min=least)
    errors = torch.where(beyond, 0.0, (found - true).abs() / spacing)
    return float(errors.max()) if errors.numel() else 0.0


def _terms(
    loss: Loss,
    logits: Tensor,
    targets: Tensor,
    settings: dict[str, Any],
    slope: Tensor,
    upstream: float,
) -> Tensor:
    """Say how large the terms are that a gradient is the difference of, where targets are soft."""
    certain = not targets.is_floating_point() and not settings.get("label_smoothing")
    if certain:
        return slope
    if loss is softmax_focal_loss:
        return slope.abs().amax(min(1, slope.dim() - 1), keepdim=True).expand_as(slope)
    sides = [
        step(loss, logits.double(), torch.full_like(targets, side), settings, upstream)[1].abs()
        for side in (0, 1)
    ]
    return torch.maximum(*sides)


# ---------------------------------------------------------------------------------------------
# time


def recipe(logits: Tensor, targets: Tensor) -> Tensor:
    """Return focal loss as `torchvision.ops.sigmoid_focal_loss` computes it, with its defaults."""
    p = torch.sigmoid(logits)
    ce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    loss = ce * ((1 - p_t) ** 2)
    return ((0.25 * targets + 0.75 * (1 - targets)) * loss).mean()


def contenders(impl: str, elements: int, rows: int) -> Iterator[tuple[str, str, Loss | None, Any]]:
    """List problem, provider, what is called (None: a copy), and the shape of its logits."""

    def ours(logits: Tensor, targets: Tensor) -> Tensor:
        return sigmoid_focal_loss(logits, targets, impl=impl)

    def ours_softmax(logits: Tensor, targets: Tensor) -> Tensor:
        return softmax_focal_loss(logits, targets, impl=impl)

    flat = (elements,)
    yield "sigmoid", "refocal", ours, flat
    yield "sigmoid", "refocal compiled", torch.compile(sigmoid_focal_loss), flat
    yield "sigmoid", "torchvision", recipe, flat
    yield "sigmoid", "torchvision compiled", torch.compile(recipe), flat
    yield "sigmoid", "BCE", F.binary_cross_entropy_with_logits, flat
    yield "sigmoid", "copy", None, flat
    for classes in (80, 4096, 32_000):
        shape = (max(1, min(rows, elements // classes)), classes)
        yield f"softmax of {classes:,}", "refocal", ours_softmax, shape
        yield f"softmax of {classes:,}", "cross_entropy", F.cross_entropy, shape
        yield f"softmax of {classes:,}", "copy", None, shape


def measure(device: torch.device, impl: str, sizes: Sizes) -> list[dict[str, Any]]:
    """Return one row per problem, provider and dtype: a training step's median time."""
    rows = []
    clock = Clock(device)
    for dtype in (torch.float32, torch.bfloat16):
        for problem, provider, loss, shape in contenders(impl, sizes.elements, sizes.rows):
            logits = torch.randn(shape, device=device).to(dtype).requires_grad_()
            if len(shape) == 1:
                targets = (torch.rand(shape, device=device) < 0.1).to(dtype)
            else:
                targets = torch.randint(0, shape[1], shape[:1], device=device)
            took = clock.time(training_step(loss, logits, targets), sizes.repeats)
            rows.append(
                {
                    "problem": problem,
                    "provider": provider,
                    "dtype": str(dtype).removeprefix("torch."),
                    "shape": list(shape),
                    "runtime_ms": took.device_ms,
                    "host_ms": took.host_ms,
                    "ps_per_element": took.device_ms * 1e9 / logits.numel(),
                }
            )
    return rows


def training_step(loss: Loss | None, logits: Tensor, targets: Tensor) -> Callable[[], object]:
    """Return forward and backward of a loss, or for None a copy."""
    if loss is None:
        source = logits.detach()
        target = torch.empty_like(source)
        return lambda: target.copy_(source)
    return lambda: torch.autograd.grad(loss(logits, targets), logits)


class Took(NamedTuple):
    """Milliseconds: medians by the device's clock and by the host's, and half the quartiles'
    distance of the former.
    """

    device_ms: float
    host_ms: float
    spread_ms: float


class Clock:
    """Times steps on a device, apart from the host's work for them.

    A step is queued while the device spins, so that its launches lie ready when the first begins:
    else a short step takes as long as the host needs to launch it. Before every step the cache is
    filled with something else, as a training's is.
    """

    CACHE = 2**28  # bytes, beyond every device's
    SPIN = 2e6  # cycles a millisecond, or a little more

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.on_device = device.type == "cuda"
        if self.on_device:
            self.cache = torch.empty(self.CACHE, dtype=torch.uint8, device=device)

    def time(self, run: Callable[[], object], repeats: int) -> Took:
        """Return medians of ``repeats`` steps, after three for compilers and allocators."""
        for _ in range(3):
            run()
        host_ms = self._once(run, 1.0)[1]
        found = [self._once(run, 2 * host_ms + 0.1) for _ in range(repeats)]
        times = sorted(device for device, _ in found)
        hosts = sorted(host for _, host in found)
        quarter = len(times) // 4
        spread = (times[-1 - quarter] - times[quarter]) / 2
        return Took(times[len(times) // 2], hosts[len(hosts) // 2], spread)

    def _once(self, run: Callable[[], object], spin_ms: float) -> tuple[float, float]:
        if not self.on_device:
            begun = time.perf_counter()
            run()
            took = (time.perf_counter() - begun) * 1e3
            return took, took
        start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        self.cache.zero_()
        torch.cuda._sleep(int(self.SPIN * spin_ms))  # type: ignore[no-untyped-call]
        begun = time.perf_counter()
        start.record()
        run()
        end.record()
        host_ms = (time.perf_counter() - begun) * 1e3
        end.synchronize()
        return start.elapsed_time(end), host_ms


# ---------------------------------------------------------------------------------------------
# the report


def why_not() -> str | None:
    """Say why there is nothing to check on this machine, in one line."""
    if not torch.cuda.is_available():
        return "needs a GPU, and torch sees no CUDA or ROCm device on this machine."
    if importlib.util.find_spec("triton") is None:
        return "needs Triton, which is not installed on this machine."
    return None


def examine(device: torch.device, impl: str, sizes: Sizes) -> dict[str, Any]:
    """Return everything that the JSON file holds."""
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else "cpu",
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "torch": torch.__version__,
        "triton": importlib.metadata.version("triton") if on_gpu else None,
        "refocal": importlib.metadata.version("refocal"),
        "checks": check(device, impl, sizes),
        "times": measure(device, impl, sizes),
    }


def table(report: dict[str, Any]) -> str:
    """Return the report for people: what failed, or that nothing did, and the times."""
    checks = report["checks"]
    failed = [row for row in checks if not row["passed"]]
    worst = max(checks, key=lambda row: row["gradient_error"])
    lines = [
        f"{report['device']}, torch {report['torch']}, Triton {report['triton']}",
        f"{len(checks) - len(failed)} of {len(checks)} checks against float64 passed; the largest "
        f"gradient error is {worst['gradient_error']:.3g} ulp ({worst['case']}, {worst['dtype']}).",
        *(
            f"  FAILED {row['case']}, {row['dtype']}, {row['reduction']}: loss "
            f"{row['loss_error']:.3g} ulp, gradient {row['gradient_error']:.3g} ulp"
            for row in failed
        ),
        "",
        f"{'problem':20} {'provider':22} {'dtype':9} {'step':>10} {'host':>10} {'per element':>13}",
    ]
    lines += [
        f"{row['problem']:20} {row['provider']:22} {row['dtype']:9} "
        f"{row['runtime_ms']:7.3f} ms {row['host_ms']:7.3f} ms {row['ps_per_element']:10.2f} ps"
        for row in report["times"]
    ]
    return "\n".join(lines)


def write(report: dict[str, Any], path: Path) -> None:
    """Write the report for machines."""
    import json

    write_text(path, json.dumps(report, indent=1) + "\n")
