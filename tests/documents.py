"""The documents' code: what it is, what it prints, whether that is what stands under it.

A block fenced as ``python`` runs, in one namespace per document, from top to bottom. A block
fenced as ``text`` right below it is what it prints. ``<!-- not run: why -->`` above a block leaves
it out; ``<!-- within 0.03 -->`` above an output allows its numbers that much instead of a unit and
a half of their last digit, where they come from training. ``<!-- needs monai -->`` above a block
runs it where that package is installed.

    python tests/documents.py docs/from-scratch.md      runs, and writes the outputs as they are
"""

from __future__ import annotations

import contextlib
import io
import re
import sys
from dataclasses import dataclass
from importlib.util import find_spec
from itertools import zip_longest
from pathlib import Path

ROOT = Path(__file__).parents[1]

FENCE = re.compile(
    r"(?P<notes>(?:^[ ]*<!--[^\n]*-->\n)*)"
    r"^(?P<indent>[ ]*)```[ ]?(?P<language>\w*)(?P<options>[^\n]*)\n"
    r"(?P<text>.*?)"
    r"^(?P=indent)```[ ]*$",
    re.MULTILINE | re.DOTALL,
)
NUMBER = re.compile(r"(?<![\w.])[-+−]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?", re.IGNORECASE)
NEEDS = re.compile(r"<!-- needs ([\w ]+) -->")
NOT_RUN = re.compile(r"<!-- not run: .+ -->")
WITHIN = re.compile(r"<!-- within ([\d.]+) -->")


@dataclass
class Block:
    """A fenced block: what is in it, where it is in the document, what is said above it."""

    language: str
    code: str
    start: int
    end: int
    notes: str
    line: int
    indent: str = ""

    @property
    def skipped(self) -> bool:
        needed = NEEDS.search(self.notes)
        missing = needed is not None and not all(find_spec(one) for one in needed[1].split())
        return missing or bool(NOT_RUN.search(self.notes))

    @property
    def within(self) -> float | None:
        found = WITHIN.search(self.notes)
        return float(found[1]) if found else None


@dataclass
class Example:
    """A block that runs and, if one stands below it, the block of what it prints."""

    code: Block
    output: Block | None


def blocks(text: str) -> list[Block]:
    found = []
    for match in FENCE.finditer(text):
        indent = match["indent"]
        code = "".join(
            line.removeprefix(indent) for line in match["text"].splitlines(keepends=True)
        )
        line = text.count("\n", 0, match.start("indent")) + 1
        found.append(
            Block(
                match["language"],
                code,
                match.start("text"),
                match.end("text"),
                match["notes"],
                line,
                indent,
            )
        )
    return found


def examples(text: str) -> list[Example]:
    found = blocks(text)
    result = []
    for one, following in zip_longest(found, found[1:]):
        if one.language != "python" or "--8<--" in one.code:
            continue
        between = text[one.end : following.start] if following else ""
        adjacent = (
            following is not None
            and following.language == "text"
            and not re.sub(r"<!--.*?-->|```\w*[^\n]*", "", between).strip()
        )
        result.append(Example(one, following if adjacent else None))
    return result


def run(name: str, text: str) -> list[tuple[Example, str]]:
    """Every example of a document with what it printed."""
    namespace: dict[str, object] = {"__name__": "__document__"}
    results = []
    for example in examples(text):
        if example.code.skipped:
            continue
        # line numbers of a traceback are those of the document
        source = "\n" * example.code.line + example.code.code
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(source, name, "exec"), namespace)
        results.append((example, printed.getvalue()))
    return results


def difference(expected: str, found: str, within: float | None = None) -> str | None:
    """What differs, or None: words exactly, numbers in the digits they are written with."""
    expected, found = _tidy(expected), _tidy(found)
    shape, shape_found = (re.sub(r"[ ]+", " ", NUMBER.sub("#", one)) for one in (expected, found))
    if shape != shape_found:
        return f"expected\n{expected}\nbut it printed\n{found}"
    for one, other in zip(NUMBER.findall(expected), NUMBER.findall(found), strict=True):
        allowed = 1.5 * last_digit(one) if within is None else within
        if "." not in one and "e" not in one.lower() and within is None:
            allowed = 0.0
        if abs(value(one) - value(other)) > allowed:
            return f"expected {one}, printed {other}, in\n{found}"
    return None


def value(number: str) -> float:
    return float(number.replace("−", "-"))


def last_digit(number: str) -> float:
    """The weight of a number's last written digit: 0.01 for 2.25, 1e-5 for 2.5e-4."""
    mantissa, _, exponent = number.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return 10.0 ** (int(exponent or 0) - decimals)


def _tidy(text: str) -> str:
    return "\n".join(line.rstrip() for line in text.strip("\n").splitlines())


def rewrite(path: Path) -> None:
    """Runs a document and puts what it prints where its outputs stand."""
    text = path.read_text(encoding="utf-8")
    for example, printed in reversed(run(str(path), text)):
        if example.output is not None:
            indent = example.output.indent
            lines = "".join(
                f"{indent}{line}".rstrip() + "\n" for line in _tidy(printed).split("\n")
            )
            text = text[: example.output.start] + lines + text[example.output.end :]
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        rewrite(Path(argument))
