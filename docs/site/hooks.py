r"""What the build of the site adds: formulas as MathML, and a navigation of the pages there are.

Formulas are turned into MathML when the site is built. Every current browser draws it by itself,
so a page needs no script, no font and no fetch for them, and a screen reader can read them.
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert

_FORMULA = re.compile(
    r'<(?P<tag>span|div) class="arithmatex">\\[\(\[](?P<tex>.*?)\\[\)\]]</(?P=tag)>', re.DOTALL
)

_README = re.compile(r'^--8<-- "README.md:(?P<part>[\w-]+)"$', re.MULTILINE)

# Title and file, in the order of reading; a page that is not written yet is left out.
_NAVIGATION: list[tuple[str, list[tuple[str, str]]]] = [
    ("", [("refocal", "index.md"), ("Focal loss from scratch", "from-scratch.md")]),
    (
        "Guides",
        [
            ("Should I use focal loss here?", "compare.md"),
            ("Choosing alpha and gamma", "choosing-alpha-and-gamma.md"),
            ("Using the probabilities", "probabilities.md"),
            ("Boosted trees", "boosting.md"),
            ("Detection", "detection.md"),
            ("Segmentation", "segmentation.md"),
            ("Labels that are missing or soft", "labels.md"),
            ("Your framework", "frameworks.md"),
            ("Hosts", "hosts.md"),
            ("More than one process", "distributed.md"),
            ("GPUs", "gpu.md"),
            ("Coming from another library", "migration.md"),
        ],
    ),
    (
        "Examples",
        [
            ("Gallery", "examples/index.md"),
            ("Dense digits", "examples/dense-digits.md"),
            ("Long-tailed classes", "examples/long-tailed.md"),
            ("Several labels at once", "examples/multi-label.md"),
            ("Segmentation with ignored pixels", "examples/segmentation.md"),
            ("Fine-tuning with the Trainer", "examples/trainer.md"),
            ("Two processes", "examples/ddp.md"),
            ("Boosted trees", "examples/boosters.md"),
        ],
    ),
    (
        "Reference",
        [
            ("Functions and classes", "reference.md"),
            ("Numerics", "numerics.md"),
            ("Is the recommendation honest?", "honesty.md"),
            ("Trust", "trust.md"),
        ],
    ),
]


def on_config(config: Any) -> Any:
    """The navigation: what is above, then every other page there is, then the decisions."""
    folder = Path(config.docs_dir)
    pages = {path.relative_to(folder).as_posix() for path in folder.rglob("*.md")} - {"README.md"}
    pages = {page for page in pages if not page.startswith("tables/")}  # parts of pages
    decisions = sorted(page for page in pages if page.startswith("decisions/"))
    named = {page for _, group in _NAVIGATION for _, page in group}
    navigation: list[Any] = []
    for title, group in _NAVIGATION:
        entries: list[Any] = [{name: page} for name, page in group if page in pages]
        if title == "Guides":
            entries += sorted(pages - named - set(decisions))
        if title:
            navigation.append({title: entries})
        else:
            navigation += entries
    navigation.append({"Decisions": decisions})
    config.nav = navigation
    return config


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Parts of the README in a page; its links start at the root of the repository."""
    return _README.sub(_of_readme, markdown)


def _of_readme(match: re.Match[str]) -> str:
    text = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    _, _, rest = text.partition(f"[start:{match['part']}] -->\n")
    part, end, _ = rest.partition(f"<!-- --8<-- [end:{match['part']}]")
    if not end:
        raise ValueError(f"README.md has no part {match['part']}")
    return part.replace("](docs/", "](")


def on_page_content(html: str, **_: Any) -> str:
    """MathML in the place of TeX."""
    return _FORMULA.sub(_mathml, html)


def _mathml(match: re.Match[str]) -> str:
    tex = unescape(match["tex"]).strip().replace(r"\log", r"\log\,")  # browsers set no space there
    display = "block" if match["tag"] == "div" else "inline"
    mathml = convert(tex, display=display)
    return f'<{match["tag"]} class="formula">{mathml}</{match["tag"]}>'
