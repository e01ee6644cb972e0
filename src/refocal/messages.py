"""The one grammar of the library's errors.

    <function>: <argument> must <domain>, got <value>. <likely cause or way out>

ValueError for values and shapes, TypeError for types. No framework: every room speaks like this.
"""

from __future__ import annotations

from typing import TypeVar

# what an argument is called where it is not called as in the losses that focal is named after
OWN_NAMES = {
    "gaussian_focal_loss": {"targets": "heatmap"},
    "quality_focal_loss": {"gamma": "beta"},
    "varifocal_loss": {"targets": "quality"},
}


def called(function: str, argument: str) -> str:
    """The name that a function has for an argument of a focal loss."""
    return OWN_NAMES.get(function, {}).get(argument, argument)


Refusal = TypeVar("Refusal", ValueError, TypeError)


def refuse(
    function: str,
    argument: str,
    domain: str,
    got: object,
    way_out: str = "",
    kind: type[Refusal] = ValueError,  # type: ignore[assignment]
) -> Refusal:
    """The error of an argument outside its domain, to be raised by who has checked it.

    It is returned, so that a ``raise`` stands where control ends, for readers and for tools.

    Args:
        function: the public function or class that was called.
        argument: its argument, by the name that it has in a focal loss.
        domain: what follows "must": "be in [0, 1]", "have shape (3,)".
        got: what was passed, as it is to be read.
        way_out: the likely cause, or what to do; a sentence or more. None may be known.
        kind: ValueError or TypeError.
    """
    end = f" {way_out}" if way_out else ""
    return kind(f"{function}: {called(function, argument)} must {domain}, got {got}.{end}")
