"""What `refocal.kernels.gpu` launches, recorded on meta tensors, and compiled without a GPU.

Meta tensors have shapes, dtypes and no values: whatever reads a value raises, as it would have made
the host wait for a device. The recorded launches are compiled as they stand, with the
specialisations that Triton derives from the arguments at run time.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple
from unittest import mock

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from refocal import arguments
from refocal.kernels.gpu import backend as gpu
from refocal.kernels.gpu import sigmoid, softmax
from refocal.problem import Problem

MODULES = (sigmoid, softmax)
KERNELS = [
    (module, name) for module in MODULES for name in vars(module) if name.endswith("_kernel")
]


class Launch(NamedTuple):
    """One launch: the kernel, how many programs, positional and constant arguments, options."""

    kernel: Any
    grid: tuple[int, ...]
    values: dict[str, Any]
    constants: dict[str, Any]
    options: dict[str, Any]


@contextmanager
def recorded() -> Iterator[list[Launch]]:
    """Launches land in a list instead of on a device."""
    launches: list[Launch] = []

    class Recorder:
        def __init__(self, kernel: Any) -> None:
            self.kernel = kernel

        def __getitem__(self, grid: tuple[int, ...]) -> Any:
            def launch(*values: Any, **keywords: Any) -> None:
                names = self.kernel.arg_names
                constants = {key: value for key, value in keywords.items() if key in names}
                options = {key: value for key, value in keywords.items() if key not in names}
                given = dict(zip(names, values, strict=False))
                assert set(given) | set(constants) == set(names)
                launches.append(Launch(self.kernel, grid, given, constants, options))

            return launch

    with ExitStack() as patches:
        for module, name in KERNELS:
            recorder = Recorder(getattr(module, name))
            patches.enter_context(mock.patch.object(module, name, recorder))
        yield launches


class StaysOnTheDevice:
    """Refuses copies from the host's memory to a device: the host waits for them, and they cannot
    be captured in a graph.

    Two modes, because what a factory function copies is not dispatched. A single value that fills
    a tensor on the device is no copy, nor is a 0-d tensor of the CPU as an operand: a kernel gets
    both as numbers.
    """

    class Factories(TorchFunctionMode):
        def __torch_function__(self, function, types, arguments=(), keywords=None):
            result = function(*arguments, **(keywords or {}))
            made = function in (torch.tensor, torch.as_tensor, torch.Tensor.new_tensor)
            given = arguments[-1] if made else None
            assert not made or result.is_cpu or isinstance(given, torch.Tensor), (
                f"{function} copies from the host"
            )
            return result

    class Copies(TorchDispatchMode):
        def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
            result = function(*arguments, **(keywords or {}))
            if function.overloadpacket.__name__ in ("_to_copy", "copy_", "_copy_from"):
                sources = [one for one in arguments if isinstance(one, torch.Tensor)]
                assert result.is_cpu or not any(one.is_cpu for one in sources), (
                    f"{function} copies from the host"
                )
            return result

    def __enter__(self) -> None:
        self.modes = ExitStack()
        self.modes.enter_context(self.Factories())
        self.modes.enter_context(self.Copies())

    def __exit__(self, *error: object) -> None:
        self.modes.close()


def problem(link: str, logits: torch.Tensor, targets: torch.Tensor, **keywords: Any) -> Problem:
    """A checked problem, with the defaults of the public functions."""
    softmax = link == "softmax"
    settings = {
        "alpha": None if softmax else 0.25,
        "gamma": 2.0,
        "sample_weight": None,
        "ignore_index": -100 if softmax else None,
        "label_smoothing": 0.0,
        "detach_modulator": False,
        **keywords,
    }
    make = arguments.softmax_problem if softmax else arguments.sigmoid_problem
    return make("test", logits, targets, **settings)


# ---------------------------------------------------------------------------------------------
# compiling

POINTERS = {
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float64: "*fp64",
    torch.int64: "*i64",
    torch.uint8: "*u8",
}


def compiled(launch: Launch, target: str) -> Any:
    """The launch compiled for "sm_90" or "gfx942", as Triton would specialise it at run time."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    signature, constants, hints = {}, dict(launch.constants), {}
    for number, name in enumerate(launch.kernel.arg_names):
        if name in constants:
            signature[name] = "constexpr"
            continue
        value = launch.values[name]
        divisible = True  # the caching allocator aligns to 512 bytes
        if isinstance(value, torch.Tensor):
            signature[name] = POINTERS[value.dtype]
        elif isinstance(value, float):
            signature[name], divisible = "fp32", False
        elif value == 1 and not launch.kernel.params[number].do_not_specialize:
            signature[name], constants[name], divisible = "constexpr", 1, False
        else:
            signature[name] = "i32" if -(2**31) <= value < 2**31 else "i64"
            divisible = value % 16 == 0 and not launch.kernel.params[number].do_not_specialize
        if divisible:
            hints[number,] = [["tt.divisibility", 16]]
    backend, chip = ("cuda", int(target[3:])) if target.startswith("sm_") else ("hip", target)
    return triton.compile(
        ASTSource(launch.kernel, signature, constants, hints),
        target=GPUTarget(backend, chip, 32 if backend == "cuda" else 64),
        options=launch.options,
    )


class Machine(NamedTuple):
    """What the assembler says about a kernel: per thread, per program."""

    registers: int
    stack: int
    spills: int
    instructions: list[str]
    threads: int

    def count(self, pattern: str) -> int:
        return sum(re.match(pattern, one) is not None for one in self.instructions)

    def bytes_by(self, pattern: str, size: int) -> int:
        """Bytes that a program moves with some instruction, ``size`` bytes a thread each."""
        return self.count(pattern) * size * self.threads


def inspected(kernel: Any, tmp_path: Any) -> Machine:
    """Registers, stack, spills and instructions of a compiled kernel."""
    warps = kernel.metadata.num_warps
    if "amdgcn" in kernel.asm:
        text = kernel.asm["amdgcn"]
        found = {
            name: int(value)
            for name, value in re.findall(
                r"^\s*\.(vgpr_count|vgpr_spill_count|sgpr_spill_count|"
                r"private_segment_fixed_size):\s+(\d+)",
                text,
                re.M,
            )
        }
        lines = [line.strip() for line in text.splitlines()]
        return Machine(
            found["vgpr_count"],
            found["private_segment_fixed_size"],
            found["vgpr_spill_count"] + found["sgpr_spill_count"],
            [line for line in lines if re.match(r"(v_|s_|global_|buffer_|ds_)", line)],
            64 * warps,
        )
    from triton import knobs

    path = tmp_path / "kernel.cubin"
    path.write_bytes(kernel.asm["cubin"])

    def run(tool: str, *options: str) -> str:
        command = [getattr(knobs.nvidia, tool).path, *options, str(path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    usage = dict(re.findall(r"(REG|STACK|LOCAL):(\d+)", run("cuobjdump", "-res-usage")))
    code = re.findall(
        r"^\s+/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?(.+?)\s*;", run("nvdisasm", "-c"), re.M
    )
    instructions = [one for one in code if not one.startswith("NOP")]
    return Machine(
        int(usage["REG"]),
        int(usage["STACK"]) + int(usage["LOCAL"]),
        sum(one.startswith(("LDL", "STL")) for one in instructions),
        instructions,
        32 * warps,
    )


def meta(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


def training_launch(case: Problem) -> Launch:
    """The loss' own launch of a mean with its gradient, as training makes it."""
    from refocal.reduction import reduction_for

    with recorded() as launches:
        gpu.evaluate("test", case, reduction_for(case, "mean", 1000.0), gradient=True)
    launch, finish = launches
    assert finish.kernel is sigmoid.finish_kernel
    return launch
