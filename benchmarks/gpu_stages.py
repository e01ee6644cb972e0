"""The seven stages of `python -m benchmarks.gpu`. Each prints one JSON object a line."""

from __future__ import annotations

import importlib.metadata
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
import triton
import triton.language as tl
from torch import Tensor

import refocal
from refocal import gpu_check
from refocal.gpu_check import Clock, errors_of, step, training_step
from refocal.kernels.gpu import backend as gpu
from refocal.kernels.gpu import sigmoid, softmax

SIGMOID, SOFTMAX = refocal.sigmoid_focal_loss, refocal.softmax_focal_loss
HALF = torch.bfloat16


class Sizes(NamedTuple):
    """How large everything is."""

    elements: tuple[int, ...]
    rows: tuple[tuple[int, int], ...]
    images: tuple[tuple[int, ...], ...]
    linear: tuple[tuple[int, int, int], ...]
    chunks: tuple[int, ...]
    checked: int
    classes: tuple[int, ...]
    beyond: int  # logits, more than 32 bits number
    copied: int
    empty: tuple[int, ...]
    repeats: int
    workers: int


FULL = Sizes(
    elements=(10**4, 10**5, 10**6, 10**7, 10**8),
    rows=(
        *((2**20, 10), (2**18, 80), (2**18, 100), (2**15, 1000), (2**12, 16_384)),
        *((2**11, 32_000), (2**11, 50_257), (2**10, 128_000)),
    ),
    images=((4, 19, 512, 512), (4, 19, 513, 513), (1, 150, 512, 512), (1, 150, 513, 513)),
    linear=((8192, 4096, 32_000), (8192, 4096, 128_000)),
    chunks=(256, 512, 1024, 2048, 4096),
    checked=100_003,
    classes=gpu_check.Sizes().classes,
    beyond=2**31 + 2**20,
    copied=2**28,
    empty=(1_000, 32_000),
    repeats=15,
    workers=8,
)
TINY = Sizes(
    elements=(1000,),
    rows=((8, 10), (2, 20_000)),
    images=((1, 5, 8, 9),),
    linear=((6, 8, 20),),
    chunks=(2, 4),
    checked=70,
    classes=(2, 20),
    beyond=2**10,
    copied=2**10,
    empty=(2,),
    repeats=1,
    workers=2,
)


def emit(**row: Any) -> None:
    """A result, at once, so that whoever is stopped later has not worked in vain."""
    print(json.dumps(row), flush=True)


def attempt(name: str, run: Callable[[], Any], **more: Any) -> None:
    """A result or what went wrong instead; the next attempt comes either way."""
    begun = time.perf_counter()
    try:
        found = run()
        found = found if isinstance(found, dict) else {"passed": found}
    except Exception as error:  # whatever it is, it is a result
        found = {"passed": False, "error": f"{type(error).__name__}: {error}"[:500]}
    emit(name=name, **more, **found, seconds=round(time.perf_counter() - begun, 3))


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on_device() -> bool:
    return device().type == "cuda"


def wait() -> None:
    if on_device():
        torch.cuda.synchronize()


def name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def logits_of(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> Tensor:
    return (torch.randn(shape, device=device()) * 3).to(dtype)


def indices_of(shape: tuple[int, ...]) -> Tensor:
    return torch.randint(0, shape[1], (shape[0], *shape[2:]), device=device())


def soft_of(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.rand(shape, device=device()).to(dtype)


# ---------------------------------------------------------------------------------------------
# 1, 2: does it run at all, and what the compiler makes of it


class Variant(NamedTuple):
    """A call that takes a kernel of its own."""

    name: str
    loss: Callable[..., Tensor]
    shape: tuple[int, ...]
    targets: str  # "index", "hard" or "soft"
    keywords: dict[str, Any]


def variants(sizes: Sizes) -> Iterator[Variant]:
    few = 1 if sizes is TINY else 64
    for kind in ("hard", "soft"):
        for gamma in (2.0, 1.5):
            for count in (2**14 * few // 64 or 64, 10_007):
                yield Variant(f"sigmoid {kind}", SIGMOID, (count,), kind, {"gamma": gamma})
    per_class = {"alpha": torch.rand(91, device=device())}
    yield Variant("sigmoid per class", SIGMOID, (few, 91), "hard", per_class)
    for _, classes in sizes.rows:
        yield Variant(f"softmax {classes}", SOFTMAX, (few, classes), "index", {})
        yield Variant(f"probabilities {classes}", SOFTMAX, (few, classes), "soft", {})
    for shape in sizes.images:
        name = f"image {shape[1]} of {shape[-1]}"
        yield Variant(name, SOFTMAX, (1, *shape[1:]), "index", {})
        yield Variant(f"soft {name}", SOFTMAX, (1, *shape[1:]), "soft", {})


def targets_for(variant: Variant, dtype: torch.dtype) -> Tensor:
    if variant.targets == "index":
        return indices_of(variant.shape)
    soft = soft_of(variant.shape, dtype)
    return soft > 0.8 if variant.targets == "hard" else soft


def smoke(sizes: Sizes) -> None:
    there = on_device()
    properties = torch.cuda.get_device_properties(0) if there else None
    emit(
        name="versions",
        torch=torch.__version__,
        triton=importlib.metadata.version("triton"),
        python=sys.version.split()[0],
        refocal=refocal.__version__,
        device=properties.name if properties else "cpu, interpreted",
        capability=list(torch.cuda.get_device_capability()) if there else None,
        processors=properties.multi_processor_count if properties else None,
        memory_gib=round(properties.total_memory / 2**30, 1) if properties else None,
        cuda=torch.version.cuda,
        hip=torch.version.hip,
    )
    classes = [columns for _, columns in sizes.rows]
    five = [
        Variant("sigmoid", SIGMOID, (5000,), "soft", {}),
        Variant("sigmoid per class", SIGMOID, (50, 7), "hard", {"alpha": soft_of((7,), HALF)}),
        Variant("short rows", SOFTMAX, (20, classes[0]), "index", {}),
        Variant("long rows", SOFTMAX, (2, classes[-1]), "index", {}),
        Variant("images", SOFTMAX, (1, *sizes.images[0][1:]), "index", {}),
    ]
    for variant, dtype in zip(five, (torch.float32, HALF, HALF, HALF, torch.float32), strict=True):

        def run(variant: Variant = variant, dtype: torch.dtype = dtype) -> dict[str, Any]:
            logits, targets = logits_of(variant.shape, dtype), targets_for(variant, dtype)
            return errors_of(variant.loss, logits, targets, variant.keywords, "gpu")

        attempt(variant.name, run, dtype=name_of(dtype))


@contextmanager
def watched() -> Iterator[list[dict[str, Any]]]:
    """Our launches, with what the compiler says of each; they still happen."""
    seen: list[dict[str, Any]] = []

    class Watched:
        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: Any) -> Callable[..., None]:
            def launch(*values: Any, **keywords: Any) -> None:
                begun = time.perf_counter()
                made = self.kernel[grid](*values, **keywords)
                seen.append(
                    {
                        "kernel": self.kernel.__name__,
                        "programs": grid[0],
                        "warps": keywords["num_warps"],
                        "compile_s": round(time.perf_counter() - begun, 3),
                        "registers": getattr(made, "n_regs", None),
                        "spills": getattr(made, "n_spills", None),
                    }
                )

            return launch

    modules = (sigmoid, softmax)
    kernels = [(m, n) for m in modules for n in vars(m) if n.endswith("_kernel")]
    originals = [getattr(module, name) for module, name in kernels]
    for (module, name), kernel in zip(kernels, originals, strict=True):
        setattr(module, name, Watched(kernel))
    try:
        yield seen
    finally:
        for (module, name), kernel in zip(kernels, originals, strict=True):
            setattr(module, name, kernel)


def compile_all(sizes: Sizes) -> None:
    """In several processes: a compiler is single-threaded, and the cache on disk is shared."""
    part = os.environ.get("REFOCAL_GPU_PART")
    if part is None:
        command = [sys.executable, "-m", "benchmarks.gpu", "--inside", "compile"]
        command += ["--tiny"] if sizes is TINY else []
        workers = [
            subprocess.Popen(command, env={**os.environ, "REFOCAL_GPU_PART": str(number)})
            for number in range(sizes.workers)
        ]
        for worker in workers:
            worker.wait()
        return
    calls = [(one, dtype) for one in variants(sizes) for dtype in (torch.float32, HALF)]
    for variant, dtype in calls[int(part) :: sizes.workers]:

        def run(variant: Variant = variant, dtype: torch.dtype = dtype) -> dict[str, Any]:
            logits, targets = logits_of(variant.shape, dtype), targets_for(variant, dtype)
            with watched() as seen:
                step(variant.loss, logits, targets, {**variant.keywords, "impl": "gpu"}, 0.5)
            return {"passed": all(not one["spills"] for one in seen), "launches": seen}

        named = {key: value for key, value in variant.keywords.items() if key == "gamma"}
        attempt(variant.name, run, dtype=name_of(dtype), shape=list(variant.shape), **named)


# ---------------------------------------------------------------------------------------------
# 3: is it right


def correctness(sizes: Sizes) -> None:
    for name, check in checks(sizes):
        attempt(name, check)
    # last, because these are many
    gpu_sizes = gpu_check.Sizes(checked=sizes.checked, classes=sizes.classes)
    try:
        for row in gpu_check.check(device(), "gpu", gpu_sizes):
            emit(name=row.pop("case"), **row)
    except Exception as error:
        emit(name="cases", passed=False, error=f"{type(error).__name__}: {error}"[:500])


def agree(*pairs: tuple[Tensor, Tensor]) -> bool:
    return all(bool(((one == two) | (one.isnan() & two.isnan())).all()) for one, two in pairs)


def checks(sizes: Sizes) -> Iterator[tuple[str, Callable[[], Any]]]:
    classes = sizes.rows[0][1]
    cases = {
        "sigmoid": (SIGMOID, (4, 77), "soft"),
        "rows": (SOFTMAX, (40, classes), "index"),
        "long rows": (SOFTMAX, (2, sizes.rows[-1][1]), "index"),
        "image": (SOFTMAX, (1, *sizes.images[0][1:]), "index"),
        "soft image": (SOFTMAX, (1, *sizes.images[0][1:]), "soft"),
    }
    for (name, (loss, shape, kind)), dtype in [
        (item, dtype) for item in cases.items() for dtype in gpu_check.DTYPES
    ]:
        label = f"{name}, {name_of(dtype)}"
        variant = Variant(name, loss, shape, kind, {})

        def upstream(variant: Variant = variant, dtype: torch.dtype = dtype) -> dict[str, Any]:
            logits, targets = logits_of(variant.shape, dtype), targets_for(variant, dtype)
            return errors_of(variant.loss, logits, targets, {"reduction": "mean"}, "gpu", 1024.0)

        def kept(variant: Variant = variant, dtype: torch.dtype = dtype) -> bool:
            logits = logits_of(variant.shape, dtype).requires_grad_()
            value = variant.loss(logits, targets_for(variant, dtype), impl="gpu")
            three = torch.full_like(value, 3.0)
            first = torch.autograd.grad(value, logits, three, retain_graph=True)[0].clone()
            second = torch.autograd.grad(value, logits, three, retain_graph=True)[0].clone()
            third = torch.autograd.grad(value, logits, three)[0]
            return agree((first, second), (first, third))

        def misaligned(variant: Variant = variant, dtype: torch.dtype = dtype) -> bool:
            count = math.prod(variant.shape)
            whole = logits_of((count + 1,), dtype)
            targets = targets_for(variant, dtype)
            settings = {"impl": "gpu", "reduction": "none"}
            odd = step(variant.loss, whole[1:].view(variant.shape), targets, settings)
            even = step(variant.loss, whole[1:].clone().view(variant.shape), targets, settings)
            return agree(*zip(odd, even, strict=True))

        def repeated(variant: Variant = variant, dtype: torch.dtype = dtype) -> bool:
            logits, targets = logits_of(variant.shape, dtype), targets_for(variant, dtype)
            first = step(variant.loss, logits, targets, {"impl": "gpu"})
            others = [step(variant.loss, logits, targets, {"impl": "gpu"}) for _ in range(3)]
            return all(agree(*zip(first, one, strict=True)) for one in others)

        def special(variant: Variant = variant, dtype: torch.dtype = dtype) -> bool:
            logits = logits_of(variant.shape, dtype)
            flat = logits.view(-1)
            for place, value in enumerate((math.inf, -math.inf, math.nan)):
                flat[place] = value
            targets = targets_for(variant, dtype)
            found, true = (
                step(variant.loss, logits, targets, {"impl": impl, "reduction": "none"})
                for impl in ("gpu", "eager")
            )
            finite = [torch.isfinite(one) for one in true]
            return agree(
                *(
                    (one[~keep], two[~keep])
                    for one, two, keep in zip(found, true, finite, strict=True)
                )
            ) and all(
                bool(one[keep].isfinite().all()) for one, keep in zip(found, finite, strict=True)
            )

        yield f"upstream 1024 of a mean, {label}", upstream
        yield f"retain_graph, {label}", kept
        yield f"misaligned, {label}", misaligned
        yield f"the same bits, {label}", repeated
        yield f"inf and NaN, {label}", special
    yield from device_checks(sizes)


def device_checks(sizes: Sizes) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What only a device can show; elsewhere it is said that it was not run."""

    def beyond(shape: tuple[int, ...]) -> bool:
        """The last positions of a tensor that 32 bits do not number, against the same alone."""
        sigmoid = len(shape) == 1
        loss = SIGMOID if sigmoid else SOFTMAX
        logits = torch.empty(shape, dtype=HALF, device=device()).normal_()
        if sigmoid:
            targets = torch.zeros(shape, dtype=torch.uint8, device=device())
        else:
            targets = indices_of(shape)
        whole = logits.requires_grad_()
        value = loss(whole, targets, impl="gpu", reduction="none")
        (slope,) = torch.autograd.grad(value.sum(), whole)
        tail = slice(-64, None)
        alone = logits.detach()[..., tail].clone().requires_grad_()
        small = loss(alone, targets[..., tail].clone(), impl="gpu", reduction="none")
        (expected,) = torch.autograd.grad(small.sum(), alone)
        return agree((value[..., tail], small), (slope[..., tail], expected))

    yield "more logits than 32 bits number", lambda: beyond((sizes.beyond,))
    yield "one image of as many", lambda: beyond((1, 4, sizes.beyond // 256, 64))

    def device_only(run: Callable[[], Any]) -> Callable[[], Any]:
        return run if on_device() else lambda: {"passed": None, "skipped": "needs a device"}

    def capture(loss: Callable[..., Tensor], shape: tuple[int, ...]) -> bool:
        logits = logits_of(shape).requires_grad_()
        targets = indices_of(shape)
        keywords = {"gamma": 1.5, "impl": "gpu"}
        if loss is SIGMOID:
            targets = soft_of(shape, torch.float32)
            keywords |= {"alpha": torch.tensor(0.3), "gamma": (torch.tensor(1.0, device="cuda"), 2)}
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            for _ in range(3):
                torch.autograd.grad(loss(logits, targets, **keywords), logits)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            value = loss(logits, targets, **keywords)
            (slope,) = torch.autograd.grad(value, logits)
        with torch.no_grad():
            logits.copy_(logits_of(shape))
        graph.replay()
        torch.cuda.synchronize()
        fresh = loss(logits, targets, **keywords)
        return agree((value, fresh), (slope, torch.autograd.grad(fresh, logits)[0]))

    def streams() -> bool:
        both = [torch.cuda.Stream(), torch.cuda.Stream()]
        logits, targets = logits_of((2**10, 1000)), indices_of((2**10, 1000))
        expected = step(SOFTMAX, logits, targets, {"impl": "gpu"})
        torch.cuda.synchronize()
        found = []
        for _ in range(10):
            for one in both:
                with torch.cuda.stream(one):
                    found.append(step(SOFTMAX, logits, targets, {"impl": "gpu"}))
        torch.cuda.synchronize()
        return all(agree(*zip(expected, one, strict=True)) for one in found)

    def second() -> Any:
        if torch.cuda.device_count() < 2:
            return {"passed": None, "skipped": "there is one device"}
        logits, targets = logits_of((100, 10)), indices_of((100, 10))
        here = step(SOFTMAX, logits, targets, {"impl": "gpu"})
        there = step(SOFTMAX, logits.to("cuda:1"), targets.to("cuda:1"), {"impl": "gpu"})
        return agree(*((one, two.to(one.device)) for one, two in zip(here, there, strict=True)))

    def no_sync() -> bool:
        calls = [
            (SIGMOID, soft_of((50, 7), torch.float32), {"alpha": torch.tensor(0.3)}),
            (
                SIGMOID,
                soft_of((50, 7), torch.float32),
                {"gamma": (torch.ones((), device="cuda"), 2)},
            ),
            (SOFTMAX, indices_of((50, 7)), {}),
            (SOFTMAX, indices_of((50, 7)), {"normalizer": "weights"}),
        ]
        logits = logits_of((50, 7)).requires_grad_()
        for loss, targets, keywords in calls:  # compiled before
            loss(logits, targets, impl="gpu", **keywords).backward()
        torch.cuda.set_sync_debug_mode("error")
        try:
            for loss, targets, keywords in calls:
                loss(logits, targets, impl="gpu", **keywords).backward()
        finally:
            torch.cuda.set_sync_debug_mode("default")
        return True

    def sanitizer() -> Any:
        tool = shutil.which("compute-sanitizer")
        if tool is None:
            return {"passed": None, "skipped": "there is no compute-sanitizer"}
        command = [tool, "--error-exitcode", "9", sys.executable, "-m", "benchmarks.gpu"]
        done = subprocess.run(
            [*command, "--inside", "smoke"], capture_output=True, text=True, timeout=60, check=False
        )
        return {"passed": done.returncode == 0, "last": done.stdout[-300:]}

    yield "captured and replayed, sigmoid", device_only(lambda: capture(SIGMOID, (1000, 7)))
    yield "captured and replayed, softmax", device_only(lambda: capture(SOFTMAX, (1000, 7)))
    yield "two streams", device_only(streams)
    yield "a second device", device_only(second)
    yield "no synchronisation", device_only(no_sync)
    yield "compute-sanitizer", device_only(sanitizer)


# ---------------------------------------------------------------------------------------------
# 4, 5: what the device can, and what we make of it


@triton.jit
def empty_kernel(unless):
    if tl.load(unless) == 1.0:
        return


def ceilings(sizes: Sizes) -> None:
    clock = Clock(device())
    for dtype in (torch.float32, HALF):
        emit(name="copy", dtype=name_of(dtype), **streamed(clock, sizes, dtype, reads=1))
        emit(name="two reads", dtype=name_of(dtype), **streamed(clock, sizes, dtype, reads=2))
    one = torch.ones((), device=device())
    for programs in sizes.empty:

        def run(programs: int = programs) -> dict[str, Any]:
            took = clock.time(lambda: empty_kernel[(programs,)](one), sizes.repeats)
            return took._asdict()

        attempt(f"{programs} empty programs", run)


def streamed(clock: Clock, sizes: Sizes, dtype: torch.dtype, *, reads: int) -> dict[str, Any]:
    a, b, c = (torch.zeros(sizes.copied, dtype=dtype, device=device()) for _ in range(3))
    run = (lambda: c.copy_(a)) if reads == 1 else (lambda: torch.add(a, b, out=c))
    took = clock.time(run, sizes.repeats)
    moved = (reads + 1) * sizes.copied * dtype.itemsize
    return {**took._asdict(), "gb_per_s": moved / took.device_ms / 1e6}


def compiled(loss: Callable[..., Tensor]) -> Callable[..., Tensor] | None:
    # what the interpreter would compile says nothing about a device
    return torch.compile(loss, dynamic=False) if on_device() else None


def softmax_recipe(logits: Tensor, targets: Tensor) -> Tensor:
    """What projects write down themselves."""
    ce = F.cross_entropy(logits.float(), targets, reduction="none")
    return ((1 - torch.exp(-ce)) ** 2 * ce).mean()


def ours(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda logits, targets: loss(logits, targets, impl="gpu")


def defaults(sizes: Sizes) -> None:
    clock = Clock(device())
    peak = {
        dtype: streamed(clock, sizes, dtype, reads=2)["gb_per_s"] for dtype in (torch.float32, HALF)
    }
    problems: list[tuple[str, tuple[int, ...], str]] = []
    problems += [
        ("sigmoid", (count,), kind) for count in sizes.elements for kind in ("hard", "soft")
    ]
    problems += [("softmax", shape, "index") for shape in (*sizes.rows, *sizes.images)]
    for link, shape, kind in problems:
        for dtype in (torch.float32, HALF):
            sigmoid = link == "sigmoid"
            variant = Variant(link, SIGMOID if sigmoid else SOFTMAX, shape, kind, {})
            # peers of the sigmoid want targets in the logits' dtype
            peers: dict[str, Callable[..., Tensor] | None] = {
                "refocal": ours(variant.loss),
                "cross-entropy": F.binary_cross_entropy_with_logits if sigmoid else F.cross_entropy,
                "recipe": gpu_check.recipe if sigmoid else softmax_recipe,
            }
            if kind != "hard":
                peers["recipe compiled"] = compiled(peers["recipe"])  # type: ignore[arg-type]
            for provider, loss in peers.items():
                if loss is None:
                    continue

                def run(
                    loss: Callable[..., Tensor] = loss,
                    variant: Variant = variant,
                    dtype: torch.dtype = dtype,
                    provider: str = provider,
                ) -> dict[str, Any]:
                    logits = logits_of(variant.shape, dtype).requires_grad_()
                    targets = targets_for(variant, dtype)
                    if variant.targets == "hard" and provider != "refocal":
                        targets = targets.to(dtype)
                    return timed(clock, loss, logits, targets, sizes.repeats, peak[dtype])

                attempt(
                    link,
                    run,
                    provider=provider,
                    shape=list(shape),
                    targets=kind,
                    dtype=name_of(dtype),
                )


def timed(
    clock: Clock,
    loss: Callable[..., Tensor],
    logits: Tensor,
    targets: Tensor,
    repeats: int,
    peak: float,
) -> dict[str, Any]:
    """A training step, with the bytes that it must move: logits, targets and gradient once."""
    run = training_step(loss, logits, targets)
    took = clock.time(run, repeats)
    with watched() as seen:
        run()
    moved = 2 * logits.numel() * logits.element_size() + targets.numel() * targets.element_size()
    speed = moved / took.device_ms / 1e6
    return {
        **took._asdict(),
        "launches": len(seen) or None,
        "gb_per_s": speed,
        "share_of_ceiling": speed / peak,
    }


# ---------------------------------------------------------------------------------------------
# 6, 7: what else could be chosen, and the linear loss


def options_of(family: str) -> Iterator[gpu.Choice]:
    """One thing changed at a time, so that a sweep stays short and says what helped."""
    yield gpu.Choice()
    yield from (gpu.Choice(each=each) for each in (4, 8, 16, 32))
    yield from (gpu.Choice(warps=warps) for warps in (2, 4, 8, 16))
    yield from (gpu.Choice(persistent=programs) for programs in (2, 4, 8))
    if family != "sigmoid":
        pixels = family.endswith("pixels")
        yield from (gpu.Choice(rows=rows) for rows in ((128, 256, 1024) if pixels else (2, 8, 32)))
    if family.endswith(("loop", "pixels")):
        yield from (gpu.Choice(stages=stages) for stages in (2, 3, 4))
        yield gpu.Choice(hints=True)
        yield from (gpu.Choice(rescale=one) for one in ("lane", "chunk"))


def sweep(sizes: Sizes) -> None:
    clock = Clock(device())
    cases: list[tuple[str, tuple[int, ...], str]] = [
        ("sigmoid", (sizes.elements[-1] // 10,), "soft")
    ]
    cases += [("softmax", shape, "index") for shape in (*sizes.rows, *sizes.images[:3:2])]
    cases += [("softmax", sizes.rows[0], "soft"), ("softmax", sizes.images[0], "soft")]
    for link, shape, kind in cases:
        for dtype in (HALF, torch.float32):
            variant = Variant(link, SIGMOID if link == "sigmoid" else SOFTMAX, shape, kind, {})
            logits = logits_of(shape, dtype).requires_grad_()
            targets = targets_for(variant, dtype)
            family, extra = family_of(variant, logits, targets)
            tried = [(choice, gpu.LARGEST_ROW) for choice in options_of(family)]
            # the other way to take a row that might be held or not
            tried += [(gpu.Choice(), {**gpu.LARGEST_ROW, **one}) for one in extra]
            for choice, largest in tried[:: 1 if sizes is FULL else 11]:
                row = {
                    "family": family,
                    "shape": list(shape),
                    "dtype": name_of(dtype),
                    "choice": {k: v for k, v in choice._asdict().items() if v},
                }
                if largest is not gpu.LARGEST_ROW:
                    row["choice"]["largest_row"] = min(largest.values())

                def run(
                    family: str = family,
                    choice: gpu.Choice = choice,
                    largest: dict[str, int] = largest,
                    variant: Variant = variant,
                    logits: Tensor = logits,
                    targets: Tensor = targets,
                ) -> dict[str, Any]:
                    before = gpu.LARGEST_ROW
                    gpu.CHOICES[family], gpu.LARGEST_ROW = choice, largest
                    try:
                        step_of = training_step(ours(variant.loss), logits, targets)
                        return clock.time(step_of, sizes.repeats)._asdict()
                    finally:
                        gpu.LARGEST_ROW = before
                        del gpu.CHOICES[family]

                attempt("sweep", run, **row)


def family_of(
    variant: Variant, logits: Tensor, targets: Tensor
) -> tuple[str, list[dict[str, int]]]:
    """The family of kernels that a call takes, and other limits of a row that is held."""
    if variant.loss is SIGMOID:
        return "sigmoid", []
    from refocal.problem import SoftmaxProblem

    problem = SoftmaxProblem(logits, targets, None, 2.0, None, -100, 0.0, False)
    planned = gpu.plan(problem)
    key = gpu.kind(problem)
    if planned.family.endswith("pixels"):
        return planned.family, []
    held = planned.family.endswith("tile")
    other = 0 if held else variant.shape[1]
    return planned.family, [{key: other}] if held or other <= 32_768 else []


def linear(sizes: Sizes) -> None:
    for rows, features, classes in sizes.linear:
        hidden = logits_of((rows, features), HALF).requires_grad_()
        weight = logits_of((classes, features), HALF) / math.sqrt(features)
        weight = weight.detach().requires_grad_()
        targets = torch.randint(0, classes, (rows,), device=device())
        for provider, loss in linear_losses(sizes).items():

            def whole(
                loss: Callable[..., Tensor] = loss,
                factors: tuple[Tensor, Tensor] = (hidden, weight),
                targets: Tensor = targets,
            ) -> object:
                return torch.autograd.grad(loss(*factors, targets), factors)

            attempt(
                "linear",
                lambda whole=whole: time_and_peak(whole, min(3, sizes.repeats)),
                provider=provider,
                shape=[rows, features, classes],
                dtype=name_of(HALF),
            )


def linear_losses(sizes: Sizes) -> dict[str, Callable[..., Tensor]]:
    """Of hidden, weight and targets."""
    losses: dict[str, Callable[..., Tensor]] = {
        f"refocal, chunks of {chunk}": partial(refocal.linear_focal_loss, chunk_size=chunk)
        for chunk in sizes.chunks
    }
    losses["refocal, default chunks"] = refocal.linear_focal_loss
    losses["unfused"] = lambda hidden, weight, targets: SOFTMAX(F.linear(hidden, weight), targets)
    losses["cross-entropy"] = lambda hidden, weight, targets: F.cross_entropy(
        F.linear(hidden, weight), targets
    )
    if hasattr(F, "linear_cross_entropy"):
        losses["torch fused"] = F.linear_cross_entropy
    return losses


def time_and_peak(whole: Callable[[], object], repeats: int) -> dict[str, Any]:
    """The fastest of some runs, and the most memory beyond what was held before."""
    whole()
    wait()
    held = torch.cuda.memory_allocated() if on_device() else 0
    if on_device():
        torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        whole()
        wait()
        times.append((time.perf_counter() - begun) * 1e3)
    peak = torch.cuda.max_memory_allocated() - held if on_device() else 0
    return {"runtime_ms": min(times), "peak_mib": peak / 2**20}


RUN = {
    "smoke": smoke,
    "compile": compile_all,
    "correctness": correctness,
    "ceilings": ceilings,
    "defaults": defaults,
    "sweep": sweep,
    "linear": linear,
}


def run(stage: str, *, tiny: bool) -> None:
    """A stage in this process."""
    torch.manual_seed(0)
    RUN[stage](TINY if tiny else FULL)
