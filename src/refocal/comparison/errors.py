"""The one exception of this package that a user is meant to read."""

from __future__ import annotations

import re
from collections.abc import Mapping

# Private-use characters around an argument and its value, which no message holds otherwise.
_OPEN, _VALUE, _CLOSE = "\ue000", "\ue001", "\ue002"
_NAMED = re.compile(f"{_OPEN}([^{_VALUE}]*){_VALUE}([^{_CLOSE}]*){_CLOSE}")


def argument(name: str, value: object = None) -> str:
    """An argument in a message: `drop='x'` from Python, `--drop x` on the command line.

    Args:
        name: as the library's functions call it.
        value: to give it; None for the argument as such, True for a switch.
    """
    return f"{_OPEN}{name}{_VALUE}{'' if value is None else value}{_CLOSE}"


class CompareError(Exception):
    """What was asked for cannot be done; the text says why and what to do instead.

    Arguments in the text are written by `argument`. From Python they read as such; the command line
    prints `on_command_line` as one line and exits with status 2.
    """

    def __str__(self) -> str:
        return self.in_python({})

    def in_python(self, names: Mapping[str, str]) -> str:
        """The text for a caller whose arguments have other names."""

        def spelled(found: re.Match[str]) -> str:
            name, value = names.get(found[1], found[1]), found[2]
            return f"{name}={value if value in ('', 'True') else repr(value)}"

        return _NAMED.sub(spelled, self._text)

    def on_command_line(self) -> str:
        """The text with options in the place of arguments."""

        def spelled(found: re.Match[str]) -> str:
            value = "" if found[2] in ("", "True") else f" {found[2]}"
            return f"--{found[1].replace('_', '-')}{value}"

        return _NAMED.sub(spelled, self._text)

    def renamed(self, names: Mapping[str, str]) -> CompareError:
        """The same error for a function that calls its arguments otherwise."""
        text = _NAMED.sub(lambda one: argument(names.get(one[1], one[1]), one[2]), self._text)
        return CompareError(text)

    @property
    def _text(self) -> str:
        return str(self.args[0]) if self.args else ""
