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
EPS = torch.finfo(torch.float32).eps
# Of the largest gradient of a case: a hundred float32 roundings for what approximate instructions
# add, plus one rounding to the dtype of the result. A wrong formula is off by far more.
ALLOWED = {dtype: 100 * EPS + torch.finfo(dtype).eps for dtype in DTYPES}


class Sizes(NamedTuple):
    """How much is checked and timed.

    Attributes:
        elements: of a sigmoid that is timed.
        rows: of a softmax that is timed.
        checked: elements of a sigmoid, and rows of a softmax, that are checked.
        repeats: of a timed step.
    """

    elements: int = 2**25
    rows: int = 2**14
    checked: int = 100_003
    repeats: int = 50


# ---------------------------------------------------------------------------------------------
# correctness


def cases(
    count: int, generator: torch.Generator
) -> Iterator[tuple[str, Loss, Tensor, Tensor, Any]]:
    """Name, loss, float64 logits, targets and keywords of everything that is checked."""
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
    for classes in (2, 10, 80, 1000, 5000, 20_000):
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
    """One row per case, dtype and reduction: the largest error of loss and gradient."""
    rows = []
    for name, loss, logits, targets, keywords in cases(
        sizes.checked, torch.Generator().manual_seed(0)
    ):
        there = {
            key: value.to(device) if isinstance(value, Tensor) else value
            for key, value in keywords.items()
        }
        labels = targets.to(device)
        for dtype in DTYPES:
            rounded = logits.to(dtype)
            for reduction in ("mean", "none"):
                settings = {**there, "reduction": reduction}
                found = _step(loss, rounded.to(device), labels, {**settings, "impl": impl})
                # in float64 the plain torch text runs, on the same rounded logits
                true = _step(
                    loss, rounded.double().to(device), labels, settings | {"impl": "eager"}
                )
                errors = [_error(*pair) for pair in zip(found, true, strict=True)]
                rows.append(
                    {
                        "case": name,
                        "dtype": str(dtype).removeprefix("torch."),
                        "reduction": reduction,
                        "loss_error": errors[0],
                        "gradient_error": errors[1],
                        # not `>`: a NaN must not pass
                        "passed": all(error <= ALLOWED[dtype] for error in errors),
                    }
                )
    return rows


def _step(loss: Loss, logits: Tensor, targets: Tensor, settings: dict[str, Any]) -> list[Tensor]:
    logits.requires_grad_()
    value = loss(logits, targets, **settings)
    (slope,) = torch.autograd.grad(value.sum(), logits)
    return [value.detach().double(), slope.double()]


def _error(found: Tensor, true: Tensor) -> float:
    """The largest error, as a share of the largest true value."""
    return float((found - true).abs().max() / true.abs().max())


# ---------------------------------------------------------------------------------------------
# time


def recipe(logits: Tensor, targets: Tensor) -> Tensor:
    """Focal loss as `torchvision.ops.sigmoid_focal_loss` computes it, with its defaults."""
    p = torch.sigmoid(logits)
    ce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p_t = p * targets + (1 - p) * (1 - targets)
    loss = ce * ((1 - p_t) ** 2)
    return ((0.25 * targets + 0.75 * (1 - targets)) * loss).mean()


def contenders(impl: str, elements: int, rows: int) -> Iterator[tuple[str, str, Loss | None, Any]]:
    """Problem, provider, what is called (None: a copy), and the shape of its logits."""

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
    """One row per problem, provider and dtype: a training step's median time."""
    rows = []
    for dtype in (torch.float32, torch.bfloat16):
        for problem, provider, loss, shape in contenders(impl, sizes.elements, sizes.rows):
            logits = torch.randn(shape, device=device).to(dtype).requires_grad_()
            if len(shape) == 1:
                targets = (torch.rand(shape, device=device) < 0.1).to(dtype)
            else:
                targets = torch.randint(0, shape[1], shape[:1], device=device)
            milliseconds = _time(_training_step(loss, logits, targets), device, sizes.repeats)
            rows.append(
                {
                    "problem": problem,
                    "provider": provider,
                    "dtype": str(dtype).removeprefix("torch."),
                    "shape": list(shape),
                    "runtime_ms": milliseconds,
                    "ps_per_element": milliseconds * 1e9 / logits.numel(),
                }
            )
    return rows


def _training_step(loss: Loss | None, logits: Tensor, targets: Tensor) -> Callable[[], object]:
    if loss is None:
        source = logits.detach()
        target = torch.empty_like(source)
        return lambda: target.copy_(source)
    return lambda: torch.autograd.grad(loss(logits, targets), logits)


def _time(step: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The median time of a step in milliseconds, by the device's own clock where it has one."""
    for _ in range(3):
        step()
    times: list[float] = []
    for _ in range(repeats):
        if device.type == "cuda":
            start = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            end = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            start.record()
            step()
            end.record()
            end.synchronize()
            times.append(start.elapsed_time(end))
        else:
            begun = time.perf_counter()
            step()
            times.append((time.perf_counter() - begun) * 1e3)
    return sorted(times)[len(times) // 2]


# ---------------------------------------------------------------------------------------------
# the report


def why_not() -> str | None:
    """Why there is nothing to check on this machine, in one line."""
    if not torch.cuda.is_available():
        return "needs a GPU, and torch sees no CUDA or ROCm device on this machine."
    if importlib.util.find_spec("triton") is None:
        return "needs Triton, which is not installed on this machine."
    return None


def examine(device: torch.device, impl: str, sizes: Sizes) -> dict[str, Any]:
    """Everything that the JSON file holds."""
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
    """The report for people: what failed, or that nothing did, and the times."""
    checks = report["checks"]
    failed = [row for row in checks if not row["passed"]]
    worst = max(checks, key=lambda row: row["gradient_error"])
    lines = [
        f"{report['device']}, torch {report['torch']}, Triton {report['triton']}",
        f"{len(checks) - len(failed)} of {len(checks)} checks against float64 passed; the largest "
        f"gradient error is {worst['gradient_error']:.1e} ({worst['case']}, {worst['dtype']}).",
        *(
            f"  FAILED {row['case']}, {row['dtype']}, {row['reduction']}: loss "
            f"{row['loss_error']:.1e}, gradient {row['gradient_error']:.1e}"
            for row in failed
        ),
        "",
        f"{'problem':20} {'provider':22} {'dtype':9} {'step':>10} {'per element':>13}",
    ]
    lines += [
        f"{row['problem']:20} {row['provider']:22} {row['dtype']:9} "
        f"{row['runtime_ms']:7.3f} ms {row['ps_per_element']:10.2f} ps"
        for row in report["times"]
    ]
    return "\n".join(lines)


def write(report: dict[str, Any], path: Path) -> None:
    """The report for machines."""
    import json

    write_text(path, json.dumps(report, indent=1) + "\n")
