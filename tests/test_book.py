"""Each concept of the book stands once: its expression is found on its own page alone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import refocal
from refocal import formula
from refocal.formula import binding

SOURCE = Path(refocal.__file__).parent

# What a copy would look like, under whatever names; and the only file that may.
CONCEPTS = {
    "0 times inf is 0": (
        r"where\(\(\w+ == (0|0\.0|ZERO)\) & (torch\.isinf\(|np\.isinf\(|\(?\w+ (>|==) )",
        "formula/margin.py",
    ),
    "both branches of x": (r"where\(\w+, \w+ \* (\w+), \1 / \w+\)", "formula/margin.py"),
    "the base, held finite": (r"base\w* = .*(clamp|clip)\(", None),
    "a smoothed share": (r"\* \(1(\.0)? - (label_)?smoothing\) \+", None),
    "x = exp(-|s|)": (r"\b(np|torch|math)\.exp\(-(np\.|torch\.|math\.)?abs\(", None),
    "the modulator's slope, in logarithms": (r"log1p\(gamma \* \w+\(", "formula/posterior.py"),
    "softplus from the exponential": (
        r"(maximum|max|where)\([^()]*\) \+ (np\.|torch\.|math\.)?(log1p\(|log1p_x)",
        "formula/",
    ),
    "the bound of the curvature": (r"\((ONE|1) \+ gamma\) \* \(p \* -", "formula/hessian.py"),
    "which gammas are exact": (r"0\.0: .*(modulator_)?zero", "formula/focal.py"),
    "F itself": (r"\* \(q \+ gamma \* \(p \* ", "formula/focal.py"),
}
# A recorded exception, docs/decisions/0003: the Triton sigmoid's arithmetic is ordered by sides.
EXCEPTIONS = {"F itself": {"kernels/gpu/operations.py"}}


@pytest.mark.parametrize("concept", CONCEPTS)
def test_a_concept_stands_once(concept: str) -> None:
    pattern, page = CONCEPTS[concept]
    found = {
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(pattern, path.read_text())
    }
    found -= EXCEPTIONS.get(concept, set())
    assert all(page is not None and name.startswith(page) for name in found), found
    assert page is None or found, "the book itself is not found: the pattern is out of date"


@pytest.mark.parametrize(
    ("concept", "copy"),
    [
        ("0 times inf is 0", "w * torch.where((w == 0) & torch.isinf(v), 0.0, v)"),
        ("0 times inf is 0", "where((coefficient == ZERO) & (loss > LARGEST), ZERO, loss)"),
        ("both branches of x", "x = np.where(s >= 0, total * e, e / total)".replace("s >= 0", "w")),
        ("the base, held finite", "base = top.clamp(-largest, largest)"),
        ("a smoothed share", "y * (1 - label_smoothing) + label_smoothing / classes"),
        ("x = exp(-|s|)", "np.exp(-np.abs(s))"),
        ("softplus from the exponential", "np.maximum(s, 0.0) + np.log1p(x)"),
        ("the bound of the curvature", "(1 + gamma) * (p * -slope)"),
        ("which gammas are exact", 'names = {0.0: "zero", 1.0: "one"}'),
        ("F itself", "-(m * (q + gamma * (p * ce)))"),
    ],
)
def test_a_copy_would_be_found(concept: str, copy: str) -> None:
    assert re.search(CONCEPTS[concept][0], copy)


def test_every_function_of_the_pages_is_bound() -> None:
    for page in binding.PAGES:
        own = [
            name for name in re.findall(r"^def (\w+)", Path(page.__file__ or "").read_text(), re.M)
        ]
        assert own
        assert set(own) <= {function.__name__ for function in formula.FUNCTIONS}


def test_names_of_the_book_are_unique() -> None:
    names = [function.__name__ for function in formula.FUNCTIONS]
    assert len(names) == len(set(names))
