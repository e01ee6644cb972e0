"""Packages whose names are found in their rooms, when they are asked for.

Imports next to nothing itself: `typing` alone would be half of what `import refocal` takes.
"""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any


def lazily(
    package: str,
    rooms: Mapping[str, str],
    modules: Iterable[str] = (),
    needs: Mapping[str, str] | None = None,
    uses: Mapping[str, str] | None = None,
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The ``__getattr__`` and ``__dir__`` of a package.

    A name is looked up once and then an attribute like any other; one that needs an extra is asked
    for anew. Threads that ask at once get the same object, because Python imports a module once.

    Args:
        package: its ``__name__``.
        rooms: where each name is defined: a module, relative to the package.
        modules: modules that are attributes themselves.
        needs: the extra without which a name cannot be used; it is asked for at every access.
        uses: the extra of other names, whose rooms ask for it themselves. ``dir()``, and with it
            ``help()``, leaves out what would raise.

    Returns:
        The two functions, to be assigned in the package.
    """
    needs = {} if needs is None else needs
    extra_of = {**({} if uses is None else uses), **needs}
    names = {*rooms, *modules}

    def __getattr__(name: str) -> Any:
        if name not in names:
            raise AttributeError(_unknown(package, name, names))
        called = f"{package}.{name}"
        if name in needs:
            from refocal import extras

            extras.need(called, needs[name])
        try:
            found: Any = import_module(f"{package}.{rooms.get(name, name)}")
        except ModuleNotFoundError as error:
            from refocal import extras

            said = extras.missing(called, error)
            if said is None:
                raise
            raise said from error
        if name in rooms:
            found = getattr(found, name)
        if name not in needs:
            setattr(sys.modules[package], name, found)
        return found

    def __dir__() -> list[str]:
        module = sys.modules[package]
        kept = {
            name
            for name, value in vars(module).items()
            if name.startswith("__") or isinstance(value, type(sys)) or name in module.__all__
        }
        lacking = {extra for extra in {*extra_of.values()} if not _has(extra)}
        return sorted((kept | names) - {name for name in names if extra_of.get(name) in lacking})

    return __getattr__, __dir__


def _has(extra: str) -> bool:
    from refocal import extras

    return extras.usable(extra)


def _unknown(package: str, name: str, names: Iterable[str]) -> str:
    message = f"module {package!r} has no attribute {name!r}"
    if name.startswith("__"):  # the interpreter and its tools ask for many
        return message
    from difflib import get_close_matches

    near = get_close_matches(name, names, 1)
    return f"{message}. Did you mean: {near[0]!r}?" if near else message
