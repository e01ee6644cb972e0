"""What the modules of all losses share: checked settings, tensors that move but are not saved."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from refocal import arguments
from refocal.arguments import tensors  # noqa: F401 - by which the settings know a tensor
from refocal.problem import Number, Problem
from refocal.reduction import denominator

POSTERIOR_SETTINGS = ("alpha", "gamma", "label_smoothing", "detach_modulator")


class SettingsModule(nn.Module):
    """Settings of a loss as attributes of their own names.

    A tensor becomes a non-persistent buffer: it follows ``.to(device)``, never changes dtype (a
    class weight rounded to bfloat16 is another loss) and never enters a state dict. Its values
    survive a trip to the meta device. Where they were on it from the start there are none: they
    become NaN, which the loss refuses, not what happened to be in memory.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        self._names = tuple(settings)
        self._kept: dict[str, Tensor] = {}  # buffers that were moved to meta
        for setting, value in settings.items():
            self._hold(setting, value)

    def _hold(self, setting: str, value: Any) -> None:
        if isinstance(value, tuple) and any(isinstance(one, Tensor) for one in value):
            for position, one in enumerate(value):  # gamma_pos, gamma_neg
                self._hold(f"_{setting}_{position}", one)
        elif isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
            float_type = torch.promote_types(value.dtype, torch.float32)
            held = value.detach().to(float_type)
            self.register_buffer(setting, held, persistent=False)
            if not held.is_meta:
                self._kept[setting] = held
        else:
            super().__setattr__(setting, value)

    def __setattr__(self, name: str, value: Any) -> None:
        # a setting that is assigned later may be of another form than the one it takes the place of
        if name in self.__dict__.get("_names", ()) and not hasattr(type(self), name):
            held = {name, f"_{name}_0", f"_{name}_1"}
            for key in held:  # of a pair with a tensor, its number
                self.__dict__.pop(key, None)
            # in tables of its own: a shallow copy shares them with its original
            for table in ("_buffers", "_parameters", "_kept"):
                kept = self.__dict__[table].items()
                self.__dict__[table] = {key: one for key, one in kept if key not in held}
            self._non_persistent_buffers_set = self._non_persistent_buffers_set - held
            self._hold(name, value)
        else:
            super().__setattr__(name, value)

    def _setting(self, name: str) -> Any:
        if hasattr(self, f"_{name}_0"):
            return getattr(self, f"_{name}_0"), getattr(self, f"_{name}_1")
        return getattr(self, name)

    def __getattr__(self, name: str) -> Any:
        if f"_{name}_0" in self._buffers or f"_{name}_1" in self._buffers:
            return self._setting(name)  # of a pair the two are kept apart
        return super().__getattr__(name)

    def keywords(self, normalizer: Any = None) -> dict[str, Any]:
        """The settings as keywords of the function, with another ``normalizer`` if given."""
        settings = {name: self._setting(name) for name in self._names}
        return settings if normalizer is None else {**settings, "normalizer": normalizer}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> SettingsModule:
        kept = dict(self._buffers)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name, before in kept.items():
            after = self._buffers[name]
            if before is None or after is None:
                continue
            if before.is_meta:
                # out of meta, as by to_empty: no checkpoint brings these values back
                before = self._kept.get(name, torch.full_like(after, math.nan))
            elif after.is_meta:
                self._kept[name] = before
            # from the original values: a trip through half precision has already rounded `after`
            self._buffers[name] = before.to(after.device)
        return self

    def extra_repr(self) -> str:
        """The settings as they would be written in a call."""
        return ", ".join(f"{name}={_brief(self._setting(name))}" for name in self._names)


class FocalModule(SettingsModule):
    """Settings of a focal loss, checked when set up."""

    def __init__(self, *, multiclass: bool, **settings: Any) -> None:
        name = type(self).__name__
        arguments.check_settings(name, settings, multiclass=multiclass)
        super().__init__(**settings)
        # of class indices; fastai's MixUp reads it by this name, to mix their losses and not them
        self.y_int = multiclass
        gamma = settings["gamma"]
        if any(
            isinstance(one, nn.Parameter)
            for one in (gamma if isinstance(gamma, tuple) else (gamma,))
        ):
            warnings.warn(
                f"{name}: a learnable gamma has no minimum (dF/dgamma <= 0 everywhere): training "
                "drives it to infinity. Choose it by validation.",
                stacklevel=3,
            )

    def _denominator(
        self,
        check: Callable[..., Problem],
        logits: Tensor,
        targets: Tensor,
        sample_weight: Tensor | None,
    ) -> Number:
        """The local count; ``logits`` stand in for the network's and carry a shape alone."""
        settings = self.keywords()
        name = type(self).__name__
        problem = check(
            name,
            logits,
            targets,
            alpha=settings["alpha"],
            gamma=2.0,
            sample_weight=sample_weight,
            ignore_index=settings["ignore_index"],
            label_smoothing=0.0,
            detach_modulator=False,
        )
        return denominator(problem, settings["normalizer"])

    def _class_denominator(self, targets: Tensor, sample_weight: Tensor | None) -> Number:
        """`_denominator` of class indices ``(N, *)`` or probabilities ``(N, C, *)``."""
        zero = torch.zeros((), device=targets.device)
        if targets.dtype.is_floating_point:
            logits = zero.expand(targets.shape)
        else:
            alpha = self._setting("alpha")
            classes = len(alpha) if isinstance(alpha, Tensor) else 2
            logits = zero.expand(*targets.shape[:1], classes, *targets.shape[1:])
        return self._denominator(arguments.softmax_problem, logits, targets, sample_weight)

    def posterior_keywords(self) -> dict[str, Any]:
        """The settings that the posterior depends on."""
        return {name: self._setting(name) for name in POSTERIOR_SETTINGS}

    def activation(self, logits: Tensor) -> Tensor:
        """The posterior, under the name by which fastai asks a loss for probabilities."""
        probabilities: Tensor = self.posterior(logits)
        return probabilities

    def decodes(self, probabilities: Tensor) -> Tensor:
        """The most probable class, or which are above one half; fastai asks for it by this name."""
        if self.y_int:
            return probabilities.argmax(min(1, probabilities.dim() - 1))
        return probabilities > 0.5


def _brief(value: Any) -> str:
    if isinstance(value, Tensor):
        if value.numel() <= 4 and not value.is_meta:
            return f"tensor({[float(f'{one:.4g}') for one in value.flatten().tolist()]})"
        return f"tensor of shape {tuple(value.shape)}"
    if isinstance(value, tuple):
        return f"({', '.join(_brief(one) for one in value)})"
    if isinstance(value, float) and math.isfinite(value):
        return f"{value:g}"
    return repr(value)
