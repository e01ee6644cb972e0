"""Every kind of tensor in the place of every tensor of every public function.

What comes out is the number of plain tensors, with their gradient, or an error that names function
and argument: never another number, never a crash.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch import distributed as dist
from torch.testing import assert_close

import refocal
from kinds import KINDS, Derived, Unwrapping, Wrapper
from refocal import sigmoid_focal_loss, softmax_focal_loss, variants

ROWS, CLASSES, FEATURES = 6, 5, 3


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed))


def roles() -> dict[str, dict[str, Tensor]]:
    """Function -> argument -> a plain tensor for it."""
    hard = (draw(ROWS, CLASSES, seed=1) < 0.4).float()
    index = (draw(ROWS, seed=2) * CLASSES).long()
    logits = 6 * draw(ROWS, CLASSES) - 3
    weight = draw(ROWS, seed=4) + 0.1
    per_class, gammas = draw(CLASSES, seed=5), 3 * draw(CLASSES, seed=6)
    count = torch.tensor(7.5)
    shared = {"sample_weight": weight, "normalizer": count}
    regions = 6 * draw(ROWS, CLASSES, 2, seed=12) - 3
    plain = {"logits": logits, "targets": hard, "sample_weight": weight}
    return {
        "sigmoid_focal_loss": {
            "logits": logits,
            "targets": hard,
            "alpha": per_class,
            "gamma": gammas,
            **shared,
        },
        "softmax_focal_loss": {
            "logits": logits,
            "targets": index,
            "alpha": 4 * per_class,
            "gamma": gammas,
            **shared,
        },
        "linear_focal_loss": {
            "hidden": draw(ROWS, FEATURES, seed=7) - 0.5,
            "weight": 4 * draw(CLASSES, FEATURES, seed=8) - 2,
            "targets": index,
            "bias": draw(CLASSES, seed=9),
            "alpha": 4 * per_class,
            "gamma": gammas,
            **shared,
        },
        "blend_focal_loss": {**plain, "alpha": per_class, "gamma": gammas},
        "exp_bce_focal_loss": {**plain, "alpha": per_class, "gamma": gammas},
        "quality_focal_loss": plain,
        "asymmetric_loss": plain,
        "varifocal_loss": {
            **plain,
            "targets": hard * draw(ROWS, CLASSES, seed=10),
            "alpha": per_class,
            "gamma": gammas,
            "positives": hard > 0,
        },
        "gaussian_focal_loss": {**plain, "targets": hard, "gamma": gammas},
        "distribution_focal_loss": {**plain, "targets": (CLASSES - 1) * draw(ROWS, seed=11)},
        "tversky_loss": {
            "logits": regions,
            "targets": (draw(*regions.shape, seed=13) < 0.4).float(),
        },
        "dice_loss": {
            "logits": regions,
            "targets": (draw(*regions.shape, seed=14) < 0.4).float(),
        },
        "softmax_dice_loss": {"logits": regions, "targets": index[:, None].expand(ROWS, 2)},
        "softmax_tversky_loss": {"logits": regions, "targets": index[:, None].expand(ROWS, 2)},
        "sigmoid_posterior": {"logits": logits, "alpha": per_class, "gamma": gammas},
        "softmax_posterior": {"logits": logits, "alpha": 4 * per_class, "gamma": gammas},
    }


ROLES = roles()
CASES = [(function, role) for function, tensors in ROLES.items() for role in tensors]
every_case = pytest.mark.parametrize(
    ("function", "role"), CASES, ids=[f"{function}-{role}" for function, role in CASES]
)
LOSSES = [name for name in ROLES if name.endswith("loss")]
ALWAYS = ("logits", "targets", "hidden", "weight")


# what is no target by name
TRUTHS = {"varifocal_loss": "quality", "gaussian_focal_loss": "heatmap"}


def truth_of(name: str) -> str:
    return TRUTHS.get(name, "targets")


def function_of(name: str) -> Callable[..., Tensor]:
    function = getattr(variants if hasattr(variants, name) else refocal, name)
    if name not in TRUTHS:
        return function

    def call(targets: Any = None, **others: Any) -> Tensor:
        return function(**{TRUTHS[name]: targets}, **others)

    return call


def arguments_for(function: str, role: str) -> dict[str, Tensor]:
    """What every call needs, and the tensor in question."""
    return {name: t.clone() for name, t in ROLES[function].items() if name in (*ALWAYS, role)}


def learned(function: str) -> str:
    return "hidden" if function == "linear_focal_loss" else "logits"


def values(tensor: Any) -> Tensor:
    """The numbers of a result of whatever class."""
    if isinstance(tensor, Wrapper):
        return tensor.inside
    if type(tensor).__name__ == "MaskedTensor":
        return tensor.get_data()
    if type(tensor).__name__ == "DTensor":
        return tensor.full_tensor()
    return tensor.detach().as_subclass(Tensor)


def value_and_gradient(function: str, **arguments: Any) -> tuple[Tensor, Tensor | None]:
    """The result, and the gradient of its sum with respect to what is learned from."""
    leaf = arguments[learned(function)]
    if not leaf.is_inference():
        leaf = arguments[learned(function)] = leaf.requires_grad_()
    result = function_of(function)(**arguments)
    if not result.requires_grad:
        return values(result), None
    (gradient,) = torch.autograd.grad(result.sum(), leaf)
    return values(result), values(gradient)


@pytest.mark.filterwarnings("ignore:(.|\n)*MaskedTensor:UserWarning")  # it is young, and says so
@pytest.mark.parametrize("kind", KINDS)
@every_case
def test_the_plain_number_or_an_error(function: str, role: str, kind: str) -> None:
    arguments = arguments_for(function, role)
    right = value_and_gradient(function, **{k: v.clone() for k, v in arguments.items()})
    make, result, _ = KINDS[kind]
    arguments[role] = quietly(make, arguments[role])
    if result == "error" and not (kind == "on the meta device" and len(arguments) == 1):
        with pytest.raises((TypeError, ValueError), match=rf"^{function}: "):
            function_of(function)(**arguments)
        return
    try:
        loss, gradient = value_and_gradient(function, **arguments)
    except (TypeError, ValueError, RuntimeError) as error:
        beginning = {
            "torch's": "Inference tensors cannot be saved for backward",
            "either": f"{function}: ",
        }
        # what torch's own class cannot do in backward, only torch can say
        at_home = kind == "masked" and "MaskedTensor" in str(error)
        if not at_home and not str(error).startswith(beginning.get(result, "-")):
            raise
        return
    if kind == "on the meta device":
        assert loss.shape == right[0].shape
        return
    assert_close(loss, right[0])
    if gradient is not None:
        assert_close(gradient, right[1])


@pytest.mark.skipif("of JAX" not in KINDS, reason="needs JAX")
@every_case
def test_an_array_of_jax_is_told_the_way_out(function: str, role: str) -> None:
    arguments = arguments_for(function, role)
    arguments[role] = KINDS["of JAX"].make(arguments[role])
    way_out = (
        r"Use (torch\.(as_)?tensor\b.*|mask\.bool\(\))\.|Pass it as a number, float\(normalizer\)\."
    )
    with pytest.raises(TypeError, match=rf"^{function}: .* got ArrayImpl\. ({way_out})$"):
        function_of(function)(**arguments)


def quietly(make: Callable[[Tensor], Any], tensor: Tensor) -> Any:
    """A tensor of a kind, of which torch may warn that it is young."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(tensor)


CHECKED = [name for name, kind in KINDS.items() if kind.checked and kind.result != "error"]


@pytest.mark.parametrize("kind", CHECKED)
@pytest.mark.parametrize("function", LOSSES)
@pytest.mark.parametrize("everywhere", [False, True])
def test_bad_labels_are_refused(function: str, kind: str, everywhere: bool) -> None:
    """Whichever tensor is of the kind, also where targets require grad."""
    arguments = arguments_for(function, "targets")
    arguments["targets"][0] = 255
    refocal.check_values(everywhere)
    try:
        for role in arguments:
            given = {**arguments, role: KINDS[kind].make(arguments[role])}
            with pytest.raises(
                ValueError, match=rf"^{function}: {truth_of(function)} must be .*255"
            ):
                function_of(function)(**given)
        if arguments["targets"].dtype.is_floating_point:
            given = {**arguments, "targets": arguments["targets"].requires_grad_()}
            with pytest.raises(
                ValueError, match=rf"^{function}: {truth_of(function)} must be .*255"
            ):
                function_of(function)(**given)
    finally:
        refocal.check_values(False)


@pytest.mark.parametrize("kind", CHECKED)
@pytest.mark.parametrize("bad", [-0.5, float("inf"), float("nan")])
@pytest.mark.parametrize("function", [name for name in LOSSES if "sample_weight" in ROLES[name]])
def test_bad_weights_are_refused(function: str, kind: str, bad: float) -> None:
    arguments = arguments_for(function, "sample_weight")
    arguments["sample_weight"][2] = bad
    arguments["sample_weight"] = KINDS[kind].make(arguments["sample_weight"])
    with pytest.raises(ValueError, match=rf"^{function}: sample_weight must be finite and >= 0"):
        function_of(function)(**arguments)


# ---------------------------------------------------------------------------------------------
# Python classes over plain memory


@pytest.mark.parametrize("function", ["sigmoid_focal_loss", "softmax_focal_loss"])
def test_a_subclass_takes_the_kernel(function: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not plain operations, which take a hundred times as long."""
    cpu = pytest.importorskip("refocal.kernels.cpu.backend")
    if not cpu.NUMBA_IS_INSTALLED:
        pytest.skip("Numba is not installed")
    ran = []
    evaluate = cpu.evaluate
    monkeypatch.setattr(cpu, "evaluate", lambda *a, **k: ran.append(1) or evaluate(*a, **k))
    for make in (Derived, Unwrapping):
        arguments = {
            name: tensor.as_subclass(make)
            for name, tensor in arguments_for(function, "targets").items()
        }
        arguments["logits"].requires_grad_()
        function_of(function)(**arguments).backward()
    assert len(ran) == 2


@pytest.mark.parametrize("function", ["sigmoid_focal_loss", "softmax_focal_loss"])
@pytest.mark.parametrize("make", [Derived, Unwrapping])
def test_the_class_of_a_result_is_that_of_torchs_losses(function: str, make: type) -> None:
    arguments = arguments_for(function, "targets")
    logits, targets = (arguments[name].as_subclass(make) for name in ("logits", "targets"))
    logits.requires_grad_()
    if function == "sigmoid_focal_loss":
        torchs = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets)
    else:
        torchs = torch.nn.functional.cross_entropy(logits, targets)
    loss = function_of(function)(logits, targets)
    assert type(loss) is type(torchs)
    gradients = [torch.autograd.grad(one, logits)[0] for one in (loss, torchs)]
    assert type(gradients[0]) is type(gradients[1])


# ---------------------------------------------------------------------------------------------
# tensors of several processes


@pytest.fixture(scope="module")
def mesh() -> Iterator[Any]:
    """One rank: what matters here is the class, not the number of processes."""
    from torch.distributed.device_mesh import init_device_mesh

    if dist.is_initialized():
        pytest.skip("a process group is in use")
    os.environ.setdefault("MASTER_ADDR", "127.0.0.1")
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


def placements() -> list[Any]:
    from torch.distributed.tensor import Replicate, Shard

    return [Replicate(), Shard(0)]


@pytest.mark.parametrize("placement", [0, 1], ids=["replicated", "sharded"])
@every_case
def test_a_dtensor(function: str, role: str, placement: int, mesh: Any) -> None:
    """In the place of any tensor, beside plain ones."""
    from torch.distributed.tensor import distribute_tensor

    arguments = arguments_for(function, role)
    right = value_and_gradient(function, **{k: v.clone() for k, v in arguments.items()})
    if arguments[role].dim() == 0:
        placement = 0  # nothing to shard
    arguments[role] = distribute_tensor(arguments[role], mesh, [placements()[placement]])
    try:
        loss, gradient = value_and_gradient(function, **arguments)
    except (TypeError, ValueError) as error:
        if not str(error).startswith(f"{function}: ") or role not in ("hidden", "weight"):
            raise
        return
    assert_close(loss, right[0])
    assert_close(gradient, right[1])


@pytest.mark.parametrize("placement", [0, 1], ids=["replicated", "sharded"])
@pytest.mark.parametrize("plain_targets", [False, True])
def test_probabilities_beside_distributed_logits(
    placement: int, plain_targets: bool, mesh: Any
) -> None:
    from torch.distributed.tensor import distribute_tensor

    logits = ROLES["softmax_focal_loss"]["logits"]
    shares = logits.flip(0).softmax(1)
    right = softmax_focal_loss(logits, shares, gamma=1.5)
    there = [placements()[placement]]
    targets = shares if plain_targets else distribute_tensor(shares, mesh, there)
    loss = softmax_focal_loss(distribute_tensor(logits, mesh, there), targets, gamma=1.5)
    assert_close(values(loss), right)


@pytest.mark.parametrize("role", ["alpha", "gamma", "sample_weight"])
def test_plain_settings_beside_distributed_classes(role: str, mesh: Any) -> None:
    from torch.distributed.tensor import Shard, distribute_tensor

    arguments = arguments_for("softmax_focal_loss", role)
    right = softmax_focal_loss(**arguments)
    arguments["logits"] = distribute_tensor(arguments["logits"], mesh, [Shard(1)])
    assert_close(values(softmax_focal_loss(**arguments)), right)


@pytest.mark.parametrize("function", ["sigmoid_focal_loss", "softmax_focal_loss"])
@pytest.mark.parametrize("role", ["alpha", "gamma"])
def test_a_distributed_module(function: str, role: str, mesh: Any) -> None:
    """`distribute_module` replicates the buffers of a loss, beside logits that stay plain."""
    from torch.distributed.tensor import distribute_module

    module = {
        "sigmoid_focal_loss": refocal.SigmoidFocalLoss,
        "softmax_focal_loss": refocal.SoftmaxFocalLoss,
    }[function](**{role: ROLES[function][role]})
    arguments = arguments_for(function, "targets")
    right = module(**arguments)
    distribute_module(module, mesh)
    assert type(getattr(module, role)).__name__ == "DTensor"
    assert_close(values(module(**arguments)), right)


@pytest.mark.parametrize(("function", "role"), [case for case in CASES if case[1] != "normalizer"])
def test_the_pending_result_of_a_collective(function: str, role: str, mesh: Any) -> None:
    from torch.distributed import _functional_collectives as collectives

    def gather(tensor: Tensor) -> Tensor:
        return collectives.all_gather_tensor(tensor, 0, mesh)

    arguments = arguments_for(function, role)
    right = function_of(function)(**arguments)
    arguments[role] = quietly(gather, arguments[role].clone())
    assert type(arguments[role]).__name__ == "AsyncCollectiveTensor"
    assert_close(function_of(function)(**arguments), right)


# ---------------------------------------------------------------------------------------------
# what torch does around the call


@pytest.mark.parametrize("function", ROLES)
def test_a_default_device(function: str) -> None:
    """Nothing is allocated there."""
    arguments = {name: tensor.clone() for name, tensor in ROLES[function].items()}
    arguments.pop("normalizer", None)
    right = function_of(function)(**arguments)
    with torch.device("meta"):
        inside = function_of(function)(**arguments)
    torch.set_default_device("meta")
    try:
        later = function_of(function)(**arguments)
        for reduction in ("none", "sum", "mean"):
            if function in LOSSES:
                assert function_of(function)(**arguments, reduction=reduction).device.type == "cpu"
    finally:
        torch.set_default_device(None)
    assert_close(inside, right, rtol=0, atol=0)
    assert_close(later, right, rtol=0, atol=0)


@pytest.mark.parametrize("function", ROLES)
def test_all_on_the_meta_device(function: str) -> None:
    """Shapes and dtypes alone, as torch's own losses give them."""
    arguments = dict(ROLES[function])
    right = function_of(function)(**arguments)
    on_meta = {name: tensor.to("meta") for name, tensor in arguments.items()}
    refocal.check_values(True)
    try:
        result = function_of(function)(**on_meta)
    finally:
        refocal.check_values(False)
    assert result.is_meta
    assert result.shape == right.shape
    assert result.dtype == right.dtype


@pytest.mark.parametrize("function", ROLES)
def test_fake_tensors(function: str) -> None:
    from torch._subclasses import FakeTensorMode

    arguments = dict(ROLES[function])
    right = function_of(function)(**arguments)
    with FakeTensorMode() as mode:
        fakes = {name: mode.from_tensor(tensor) for name, tensor in arguments.items()}
        inside = function_of(function)(**fakes)
    assert inside.shape == right.shape
    assert type(inside).__name__ == "FakeTensor"


@pytest.mark.parametrize("function", ROLES)
def test_under_a_dispatch_mode(function: str) -> None:
    """Something that watches operations, as a counter of them does, sees them."""
    from torch.utils._python_dispatch import TorchDispatchMode

    class Watching(TorchDispatchMode):
        seen = 0

        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            self.seen += 1
            return func(*args, **(kwargs or {}))

    arguments = dict(ROLES[function])
    right = function_of(function)(**arguments)
    with Watching() as mode:
        assert_close(function_of(function)(**arguments), right)
    assert mode.seen > 5
    if function in LOSSES:
        bad = arguments["targets"].clone()
        bad[0] = 255
        with Watching(), pytest.raises(ValueError, match=rf"{truth_of(function)} must be .*255"):
            function_of(function)(**{**arguments, "targets": bad})


@pytest.mark.parametrize("function", ["sigmoid_focal_loss", "softmax_focal_loss"])
def test_memory_that_has_been_freed(function: str) -> None:
    """As FSDP frees parameters between their uses: an error, and no read at address 0."""
    arguments = arguments_for(function, "targets")
    arguments["targets"].untyped_storage().resize_(0)
    with pytest.raises((ValueError, TypeError), match=rf"^{function}: targets .*memory"):
        function_of(function)(**arguments)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.int64, torch.float8_e5m2])
@pytest.mark.parametrize("impl", ["auto", "eager"])
def test_the_dtype_of_a_normalizer_plays_no_part(dtype: torch.dtype, impl: str) -> None:
    for function in ("sigmoid_focal_loss", "softmax_focal_loss", "linear_focal_loss"):
        arguments = arguments_for(function, "targets")
        settings = {} if function == "linear_focal_loss" else {"impl": impl}
        right = function_of(function)(**arguments, **settings, normalizer=4.0)
        count = torch.tensor(4.0).to(dtype)
        found = function_of(function)(**arguments, **settings, normalizer=count)
        assert found.dtype == right.dtype
        assert_close(found, right)
        with pytest.raises(ValueError, match=rf"^{function}: normalizer must be > 0 and finite"):
            function_of(function)(**arguments, **settings, normalizer=10**400)


@pytest.mark.parametrize("impl", ["auto", "eager"])
@pytest.mark.parametrize("gamma", [1e3, 1e5, 1e6, 1e8, 1e9, 1e20, 1e30])
def test_a_gamma_far_beyond_use(impl: str, gamma: float) -> None:
    """The probability rounds to 1, and gamma times what is left of it still counts."""
    z = torch.tensor([1.0, 10.0, 18.0, 20.0, 50.0])
    found = sigmoid_focal_loss(
        z, torch.zeros(5), alpha=None, gamma=gamma, reduction="none", impl=impl
    )
    wide = z.double()
    right = torch.exp(-gamma * torch.log1p(torch.exp(-wide))) * torch.nn.functional.softplus(wide)
    assert_close(found.double(), right, rtol=2e-5, atol=1e-37)


@pytest.mark.parametrize("function", ["sigmoid_focal_loss", "softmax_focal_loss"])
def test_hard_targets_that_require_grad_get_it(function: str) -> None:
    """At 0 and 1 themselves, where the derivative of a clamp is a matter of torch's version."""
    logits = 4 * draw(4, 3) - 2
    targets = torch.eye(3)[[0, 1, 2, 0]].requires_grad_()
    loss = function_of(function)(logits, targets, gamma=1.5, alpha=None, reduction="sum")
    (found,) = torch.autograd.grad(loss, targets)

    def losses(index: int) -> Tensor:
        """What each class would cost if it were the only one: linear in its share."""
        one = torch.zeros(4, 3)
        one[:, index] = 1
        return function_of(function)(logits, one, gamma=1.5, alpha=None, reduction="none")

    if function == "softmax_focal_loss":
        right = torch.stack([losses(index) for index in range(3)], 1)
    else:
        settings: dict[str, Any] = {"gamma": 1.5, "alpha": None, "reduction": "none"}
        right = sigmoid_focal_loss(logits, torch.ones(4, 3), **settings)
        right = right - sigmoid_focal_loss(logits, torch.zeros(4, 3), **settings)
    assert_close(found, right)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64])
def test_unsigned_targets(dtype: torch.dtype) -> None:
    for function in ("sigmoid_focal_loss", "softmax_focal_loss", "linear_focal_loss"):
        arguments = arguments_for(function, "targets")
        right = function_of(function)(**arguments)
        arguments["targets"] = arguments["targets"].long().to(dtype)
        assert_close(function_of(function)(**arguments), right)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("impl", ["eager", "auto", "compiled"])
@pytest.mark.parametrize("value", [-9999, 65535, 16777217, -1, 2**40, float("nan")])
def test_an_ignored_value_is_what_the_targets_hold_of_it(
    dtype: torch.dtype, impl: str, value: float
) -> None:
    """One rule in kernel, check and denominator: the number rounded to the targets' dtype."""
    logits = (4 * draw(64) - 2).requires_grad_()
    hard = (draw(64, seed=1) < 0.4).to(dtype)
    hard[::3] = torch.tensor(value, dtype=torch.float64).to(dtype)
    kept = torch.ones(64, dtype=torch.bool)
    kept[::3] = False
    right = sigmoid_focal_loss(logits[kept], hard[kept], impl="eager")
    (right_gradient,) = torch.autograd.grad(right, logits)

    def call(logits: Tensor) -> Tensor:
        return sigmoid_focal_loss(
            logits, hard, ignore_index=value, impl="auto" if impl == "compiled" else impl
        )

    loss = (torch.compile(call, backend="aot_eager") if impl == "compiled" else call)(logits)
    assert_close(loss, right)
    assert_close(torch.autograd.grad(loss, logits)[0], right_gradient)


@pytest.mark.parametrize("impl", ["eager", "auto"])
def test_an_ignored_value_that_integers_cannot_hold(impl: str) -> None:
    """It equals no target: -100 is not the class 156 of uint8."""
    logits = torch.randn(4, 200, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([156, 3, 199, 0], dtype=torch.uint8)
    right = softmax_focal_loss(logits, targets.long(), impl=impl)
    assert_close(softmax_focal_loss(logits, targets, impl=impl), right)
    hard = torch.tensor([0, 1, 1, 0], dtype=torch.uint8)
    loss = sigmoid_focal_loss(logits[:, 0], hard, ignore_index=257, impl=impl)
    assert_close(loss, sigmoid_focal_loss(logits[:, 0], hard, impl=impl))
    for function in (sigmoid_focal_loss, softmax_focal_loss):
        with pytest.raises(ValueError, match="ignore_index must be an integer of 64 bits"):
            function(
                logits[:, 0] if function is sigmoid_focal_loss else logits, hard, ignore_index=2**70
            )


ROUNDED = {
    torch.float32: 4 * 2.0**-23,
    torch.float64: 4 * 2.0**-23,
    torch.bfloat16: 2.0**-7,
    torch.float16: 2.0**-10,
}


@pytest.mark.parametrize("dtype", ROUNDED, ids=str)
@pytest.mark.parametrize("impl", ["eager", "auto", "transform", "compiled"])
def test_labels_that_rounding_put_outside(dtype: torch.dtype, impl: str) -> None:
    """A blurred 0/1 mask reaches 1.0000001: taken for 1, alike everywhere; twice as far is not."""
    slack = ROUNDED[dtype]
    logits = 4 * draw(3, 4, seed=3) - 2
    inside = (draw(3, 4, seed=4) < 0.5).to(dtype)
    targets = torch.where(inside == 1, 1 + slack, -slack).to(dtype)
    for function in (sigmoid_focal_loss, softmax_focal_loss):

        def loss(
            z: Tensor, y: Tensor, function: Callable[..., Tensor] = function, **keywords: Any
        ) -> Tensor:
            return function(z, y, gamma=1.5, **keywords)

        keywords = {} if impl in ("transform", "compiled") else {"impl": impl}
        call: Any = loss
        if impl == "transform":
            call = lambda z, y, loss=loss: torch.func.grad_and_value(loss)(z, y)[1]  # noqa: E731
        elif impl == "compiled":
            call = torch.compile(loss, backend="aot_eager")
        assert_close(call(logits, targets, **keywords), call(logits, inside, **keywords))
        if impl in ("eager", "auto"):
            for normalizer in ("positives", "weights", "sample_weight"):
                if function is softmax_focal_loss and normalizer == "positives":
                    continue
                assert_close(
                    call(logits, targets, normalizer=normalizer, **keywords),
                    call(logits, inside, normalizer=normalizer, **keywords),
                )
            for far in (1 + 2.1 * slack, -2.1 * slack):
                beyond = inside.clone()
                beyond[0, 0] = far
                with pytest.raises(ValueError, match=r"targets must be in \[0, 1\]"):
                    call(logits, beyond, **keywords)


def test_a_sum_with_an_undone_block_is_never_returned(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where kernel and check disagree, plain operations have the last word."""
    monkeypatch.setattr(refocal.arguments, "check_values_of", lambda *_: None)
    logits = 4 * draw(9000) - 2
    targets = (draw(9000, seed=1) < 0.4).float()
    targets[5000] = 255
    for keywords in ({}, {"sample_weight": -draw(9000, seed=2)}):
        for gradient in (False, True):
            z = logits.clone().requires_grad_(gradient)
            loss = sigmoid_focal_loss(z, targets, **keywords)
            assert_close(loss, sigmoid_focal_loss(z, targets, impl="eager", **keywords))


def test_a_gradient_that_the_graph_keeps_is_a_copy() -> None:
    for function in ("sigmoid_focal_loss", "softmax_focal_loss", "linear_focal_loss"):
        for reduction in ("mean", "sum", "none"):
            arguments = arguments_for(function, "targets")
            leaf = arguments[learned(function)].requires_grad_()
            loss = function_of(function)(**arguments, reduction=reduction).sum()
            (first,) = torch.autograd.grad(loss, leaf, retain_graph=True)
            right = first.clone()
            first.numpy()[:] = 0
            assert_close(torch.autograd.grad(loss, leaf)[0], right, rtol=0, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("impl", ["auto", "eager"])
def test_batched_backward(dtype: torch.dtype, reduction: str, impl: str) -> None:
    """Several upstream gradients at once, as `jacobian(vectorize=True)` gives them."""
    for function in ("sigmoid_focal_loss", "softmax_focal_loss", "linear_focal_loss"):
        arguments = arguments_for(function, "targets")
        settings: dict[str, Any] = {"reduction": reduction, "gamma": 1.5}
        if function != "linear_focal_loss":
            settings["impl"] = impl
        for name, tensor in arguments.items():
            if tensor.dtype.is_floating_point:
                arguments[name] = tensor.to(dtype)
        leaf = arguments[learned(function)].requires_grad_()
        loss = function_of(function)(**arguments, **settings)
        upstream = draw(3, *loss.shape, seed=11).to(loss.dtype)
        (batched,) = torch.autograd.grad(
            loss, leaf, upstream, is_grads_batched=True, retain_graph=True
        )
        mapped = torch.func.vmap(
            lambda one, loss=loss, leaf=leaf: torch.autograd.grad(
                loss, leaf, one, retain_graph=True
            )[0]
        )(upstream)
        for number in range(3):
            (alone,) = torch.autograd.grad(loss, leaf, upstream[number], retain_graph=True)
            assert_close(batched[number], alone)
            assert_close(mapped[number], alone)


def test_vectorised_second_derivatives() -> None:
    logits = (4 * draw(6, seed=1) - 2).double()
    hard = (draw(6, seed=2) < 0.5).double()

    def loss(z: Tensor) -> Tensor:
        return sigmoid_focal_loss(z, hard, gamma=1.5)

    plain = torch.autograd.functional.hessian(loss, logits)
    assert_close(torch.autograd.functional.hessian(loss, logits, vectorize=True), plain)


@pytest.mark.parametrize("classes", [1_000, 20_000, 300_000])
@pytest.mark.parametrize("layout", ["rows", "adjacent"])
def test_sums_over_many_classes(classes: int, layout: str) -> None:
    """Label smoothing sums over every class: no digit is lost to their number."""
    shape = (2, classes) if layout == "rows" else (1, classes, 2)
    logits = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    index = torch.tensor([3, classes - 1]).view(2 if layout == "rows" else (1, 2))
    found: dict[torch.dtype, tuple[Tensor, Tensor]] = {}
    for dtype in (torch.float32, torch.float64):
        z = logits.to(dtype).requires_grad_()
        loss = softmax_focal_loss(z, index, gamma=0.0, label_smoothing=0.1, reduction="none")
        found[dtype] = loss.detach(), torch.autograd.grad(loss.sum(), z)[0]
    eps = torch.finfo(torch.float32).eps
    bound = 8 * eps  # (1 + gamma)(8 + range / 2) eps is allowed
    for single, double in zip(found[torch.float32], found[torch.float64], strict=True):
        error = ((single.double() - double) / double.abs().clamp(min=1e-30)).abs()
        assert error.median() < bound


@pytest.mark.parametrize("impl", ["auto", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_results_below_the_smallest_normal_number(impl: str, dtype: torch.dtype) -> None:
    """Gradually, and not at once to 0."""
    z = torch.tensor([-90.0], dtype=dtype, requires_grad=True)
    settings: dict[str, Any] = {"gamma": 0.0, "reduction": "none", "impl": impl}
    right = torch.exp(z.detach().double())
    for loss in (
        sigmoid_focal_loss(z, torch.zeros(1), alpha=None, **settings),
        softmax_focal_loss(torch.stack([z * 0, z], 1), torch.tensor([0]), **settings),
    ):
        assert_close(loss.double(), right, rtol=0.01, atol=0)
        (gradient,) = torch.autograd.grad(loss, z)
        assert gradient > 0


def test_a_float_normalizer_compiles_once() -> None:
    from torch._dynamo.testing import CompileCounter

    for function in ("sigmoid_focal_loss", "softmax_focal_loss", "linear_focal_loss"):
        arguments = arguments_for(function, "targets")
        torch._dynamo.reset()
        counter = CompileCounter()
        compiled = torch.compile(function_of(function), backend=counter, fullgraph=True)
        for count in (1.5, 2.5, 7.25, 100.0, 3.3, 9.0, 11.5, 12.5, 13.5, 0.25):
            loss = compiled(**arguments, normalizer=count)
            assert_close(loss, function_of(function)(**arguments, normalizer=count))
        # the first value is taken for a constant
        assert counter.frame_count <= 2
