"""The documents: their code runs, they print what stands in them, their links lead somewhere."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
import io
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import refocal
from documents import NUMBER, ROOT, blocks, difference, last_digit, run, value

DOCS = ROOT / "docs"
PAGES = sorted(
    [ROOT / "README.md", *DOCS.rglob("*.md")], key=lambda page: page.relative_to(ROOT).as_posix()
)
RUNNING = [page for page in PAGES if page.parent.name != "decisions"]
GALLERY = sorted((DOCS / "examples").glob("*.md"))
EXAMPLES = ("boosters", "dense_digits", "long_tailed", "multi_label", "segmentation", "trainer")
# next to no training
SMALL = {
    "boosters": {"EVERY": 20, "ROUNDS": 3},
    "long_tailed": {"STEPS": 4},
    "multi_label": {"STEPS": 4},
    "segmentation": {"STEPS": 4},
    "trainer": {"EPOCHS": 1, "TRAINING": 64, "TEST": 64},
}
REFERENCE = (DOCS / "reference.md").read_text(encoding="utf-8")

# Modules whose public names are part of the library, and what of refocal they need.
MODULES = (
    "refocal",
    "refocal.variants",
    "refocal.parameters",
    "refocal.budget",
    "refocal.boosting",
    "refocal.data",
    "refocal.metrics",
    "refocal.integrations.fastai",
    "refocal.integrations.huggingface",
    "refocal.integrations.join",
    "refocal.integrations.skorch",
    "refocal.integrations.torchvision",
    "refocal.integrations.ultralytics",
    "refocal.jax",
    "refocal.keras",
)
# what takes anything and raises nothing
NEVER_RAISE = {"check_values"}

SNIPPET = re.compile(r'^[ ]*--8<-- "(?P<file>[^":]+)(?::(?P<part>[\w-]+))?"$', re.MULTILINE)
LINK = re.compile(r"(?<!`)!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of its own, and torch's settings put back."""
    monkeypatch.chdir(tmp_path)
    yield
    torch.set_default_dtype(torch.float32)


def expanded(page: Path) -> str:
    """A page's text with its snippets in place."""
    return SNIPPET.sub(
        lambda found: snippet(found["file"], found["part"]), page.read_text(encoding="utf-8")
    )


def snippet(file: str, part: str | None) -> str:
    text = (ROOT / file).read_text(encoding="utf-8")
    if part is None:
        return text.rstrip("\n")
    found = re.search(
        rf"\[start:{part}\][^\n]*\n(.*?)^[^\n]*\[end:{part}\]", text, re.DOTALL | re.MULTILINE
    )
    assert found, f"{file} has no section {part}"
    return found[1].rstrip("\n")


# ---------------------------------------------------------------------------------------------
# code and what it prints


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("page", RUNNING, ids=name)
def test_code_prints_what_stands_under_it(page: Path) -> None:
    with warnings.catch_warnings():
        if page.name == "hosts.md":  # what other packages say of themselves when imported
            warnings.simplefilter("ignore")
        results = run(str(page), page.read_text(encoding="utf-8"))
    for example, printed in results:
        if example.output is not None:
            found = difference(example.output.code, printed, example.output.within)
            assert found is None, f"{name(page)}:{example.code.line}: {found}"


@pytest.mark.parametrize(
    ("expected", "found", "within", "same"),
    [
        ("loss 0.25\n", "loss 0.25", None, True),
        ("loss 0.25", "loss 0.26", None, True),  # the last digit may round otherwise
        ("loss 0.25", "loss 0.27", None, False),
        ("loss 0.25", "cost 0.25", None, False),
        ("loss 0.25", "loss 0.25\nloss 0.25", None, False),
        ("3 of 10", "3  of   10", None, True),  # columns may shift
        ("3 of 10", "4 of 10", None, False),  # a count is exact
        ("loss nan", "loss 0.1", None, False),
        ("loss 0.25 ± 0.01", "loss 0.27 ± 0.02", 0.03, True),
        ("loss 0.25 ± 0.01", "loss 0.29 ± 0.02", 0.03, False),
        ("-3.5e-14", "-3.6e-14", None, True),
        ("-3.5e-14", "3.5e-14", None, False),
        ("tensor([1.2500e-03])", "tensor([1.2501e-03])", None, True),
        ("tensor([1.2500e-03])", "tensor([1.2600e-03])", None, False),
    ],
)
def test_the_comparison_can_fail(
    expected: str, found: str, within: float | None, same: bool
) -> None:
    assert (difference(expected, found, within) is None) == same


def test_a_document_that_lies_is_caught() -> None:
    text = "```python\nx = 2\n```\nWords.\n```python\nprint(x + 1)\n```\n\n```text\n4\n```\n"
    ((_, nothing), (example, printed)) = run("lie.md", text)
    assert nothing == ""
    assert printed == "3\n"
    assert example.output is not None
    assert difference(example.output.code, printed) is not None


def test_a_block_may_be_left_out_with_a_reason() -> None:
    text = "<!-- not run: needs two machines -->\n```python\nraise SystemExit\n```\n"
    assert run("skip.md", text) == []
    assert blocks(text)[0].skipped
    assert not blocks(text.replace(": needs two machines", ""))[0].skipped


# ---------------------------------------------------------------------------------------------
# figures in the prose


def decimals(text: str) -> set[str]:
    """Numbers with a decimal point, without their sign."""
    return {one.lstrip("-+−") for one in NUMBER.findall(text) if "." in one.rstrip(".")}


def prose(text: str) -> str:
    """A page's words: no code, no formulas, no addresses."""
    for block in reversed(blocks(text)):
        text = text[: block.start] + text[block.end :]
    text = re.sub(r"`[^`]*`|\$[^$]*\$|\]\([^)]*\)|<!--.*?-->", " ", text)
    return re.sub(r"https?://\S+", " ", text)


def unsupported(text: str) -> set[str]:
    """Decimal numbers of the prose that no code and no output of the page contains, rounded."""
    shown = [value(one) for one in NUMBER.findall("\n".join(block.code for block in blocks(text)))]
    return {
        one
        for one in decimals(prose(text))
        if not any(abs(abs(other) - float(one)) <= 0.5001 * last_digit(one) for other in shown)
    }


@pytest.mark.parametrize(
    "page", [DOCS / "from-scratch.md", DOCS / "numerics.md", *GALLERY], ids=name
)
def test_figures_in_the_prose_are_printed_on_the_page(page: Path) -> None:
    """What stands in docs/tables a command wrote, and other tests hold it to what is measured."""
    written = re.findall(r'--8<-- "(docs/tables/[^"]+)"', page.read_text("utf-8"))
    tables = "\n".join((ROOT / one).read_text("utf-8") for one in written)
    assert unsupported(expanded(page)) - decimals(tables) == set()


def test_an_invented_figure_is_caught() -> None:
    text = "It reaches 0.71, not 0.68.\n\n```text\nreached 0.7083\n```\n"
    assert unsupported(text) == {"0.68"}


# ---------------------------------------------------------------------------------------------
# examples


@contextlib.contextmanager
def example(module: str) -> Iterator[Any]:
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        # by its file: other tests have modules of the same name
        file = ROOT / "examples" / f"{module}.py"
        if not file.exists():
            file = file.with_suffix("") / "__main__.py"
        spec = importlib.util.spec_from_file_location(f"example_{module}", file)
        assert spec is not None
        assert spec.loader is not None
        loaded = importlib.util.module_from_spec(spec)
        sys.modules[loaded.__name__] = loaded
        spec.loader.exec_module(loaded)
        yield loaded
    finally:
        sys.path.pop(0)


def shape(text: str) -> str:
    """A text without its figures, dashes and spaces."""
    return re.sub(r"[-\s]+", " ", NUMBER.sub("#", text)).strip()


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("module", EXAMPLES)
def test_examples_run_and_print_what_is_kept(
    module: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Next to no training here: the words must be those kept; the figures come from the command."""
    kept = (DOCS / "examples" / "output" / f"{module}.txt").read_text(encoding="utf-8")
    printed = io.StringIO()
    with example(module) as loaded, contextlib.redirect_stdout(printed):
        if module == "dense_digits":
            monkeypatch.setattr("examples.dense_digits.ablation._TRAINING_SCENES", 20)
            monkeypatch.setattr("examples.dense_digits.ablation._TEST_SCENES", 4)
            loaded.main(["--seeds", "2", "--steps", "6", "--plot", str(tmp_path)])
        else:
            for setting, value_of in SMALL[module].items():
                monkeypatch.setattr(loaded, setting, value_of)
            loaded.main(tmp_path)
    assert shape(printed.getvalue()) == shape(kept)
    drawn = sorted(path.name for path in tmp_path.glob("*.svg"))
    assert drawn
    for file in drawn:
        assert (DOCS / "img" / file).exists(), f"docs/img/{file} is not kept"
        assert "<svg" in (tmp_path / file).read_text(encoding="utf-8")


@pytest.mark.parametrize("module", ["flax_nnx", "equinox_step"])
def test_examples_in_jax_print_what_is_kept(module: str) -> None:
    kept = (DOCS / "examples" / "output" / f"{module}.txt").read_text(encoding="utf-8")
    file = ROOT / "examples" / f"{module}.py"
    done = subprocess.run([sys.executable, file], check=True, capture_output=True, text=True)
    assert done.stdout == kept


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_the_example_in_keras_prints_what_is_kept(backend: str) -> None:
    pytest.importorskip("keras")
    kept = (DOCS / "examples" / "output" / "keras_model.txt").read_text(encoding="utf-8")
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "keras_model.py"],
        env=os.environ | {"KERAS_BACKEND": backend},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout == kept


@pytest.mark.parametrize("module", ["accumulation", "ddp", "tensor_parallel"])
def test_examples_of_several_processes_print_what_is_kept(module: str, tmp_path: Path) -> None:
    """Quick enough to run in full, each by the command that the page names."""
    kept = (DOCS / "examples" / "output" / f"{module}.txt").read_text(encoding="utf-8")
    file, launcher = ROOT / "examples" / f"{module}.py", []
    if module != "accumulation":
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [sys.executable, *launcher, file, *(["--plot", tmp_path] if module == "ddp" else [])],
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=True,
        capture_output=True,
        text=True,
        timeout=1800,
    )
    # how far off a right gradient is depends on the order of sums
    assert difference(kept, done.stdout, within=5e-6) is None
    assert (tmp_path / "ddp.svg").exists() == (module == "ddp")


def test_figures_of_the_formula_are_the_ones_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    figures = importlib.import_module("figures")
    monkeypatch.setattr(figures, "FOLDER", tmp_path)
    for file, (draw, title) in figures.FIGURES.items():
        with figures.style():
            figures.save(draw(), file, title, tmp_path)
        new, old = ((folder / f"{file}.svg").read_text() for folder in (tmp_path, DOCS / "img"))
        # another matplotlib may lay out otherwise; the words are ours
        words = [re.findall(r"<text[^>]*>([^<]*)", one) for one in (new, old)]
        assert words[0] == words[1]
        assert words[0]


# ---------------------------------------------------------------------------------------------
# the reference


def public_names() -> list[tuple[str, str]]:
    """Module and name of everything public."""
    found = []
    for module in MODULES:
        try:
            loaded = importlib.import_module(module)
        except ImportError:
            continue  # a host that is not installed here
        names = getattr(loaded, "__all__", None)
        if names is None:
            names = [
                one
                for one, member in vars(loaded).items()
                if not one.startswith("_") and getattr(member, "__module__", None) == module
            ]
        found += [(module, one) for one in names]
    return found


@pytest.fixture(params=public_names(), ids=lambda one: ".".join(one))
def public(request: pytest.FixtureRequest) -> Any:
    module, attribute = request.param
    try:
        return getattr(importlib.import_module(module), attribute)
    except ImportError as error:
        pytest.skip(str(error))


def test_every_public_name_has_an_entry(public: Any) -> None:
    entry = f"::: {public.__module__}.{public.__qualname__}"
    if public.__module__ == "refocal.data":
        entry = f"::: refocal.data.{public.__name__}"
    assert f"{entry}\n" in REFERENCE + "\n", f"docs/reference.md has no line '{entry}'"


def test_no_entry_is_for_something_gone() -> None:
    for path in re.findall(r"^::: (\S+)$", REFERENCE, re.MULTILINE):
        module, _, attribute = path.rpartition(".")
        try:
            loaded = importlib.import_module(module)
        except ImportError:
            continue
        assert hasattr(loaded, attribute), path


def test_docstrings_have_their_sections(public: Any) -> None:
    text = inspect.getdoc(public) or ""
    missing = [
        section
        for section in required_sections(public)
        if not re.search(rf"^({section}):$", text, re.MULTILINE)
    ]
    assert not missing, f"{public.__qualname__} lacks {missing}"


def required_sections(public: Any) -> list[str]:
    """What a docstring must have: functions all four, classes what fits them."""
    if inspect.isclass(public):
        if dataclasses.is_dataclass(public) or issubclass(public, tuple):
            return ["Attributes|Args"]
        return ["Example"]
    sections = ["Example"]
    if inspect.signature(public).parameters:
        sections.append("Args")
        if public.__name__ not in NEVER_RAISE:
            sections.append("Raises")
    if inspect.signature(public).return_annotation not in (None, "None"):
        sections.append("Returns")
    return sections


def test_a_bare_docstring_is_caught() -> None:
    def bare(x: int) -> int:
        """Only a line."""
        return x

    assert required_sections(bare) == ["Example", "Args", "Raises", "Returns"]


# ---------------------------------------------------------------------------------------------
# links


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_and_snippets_resolve(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for found in SNIPPET.finditer(text):
        assert snippet(found["file"], found["part"])
    for target in (found["target"] for found in LINK.finditer(prose_links(text))):
        if re.match(r"[a-z]+:", target):
            assert target.startswith(("https://", "mailto:")), f"{target} is not https"
            continue
        file, _, anchor = target.partition("#")
        destination = (page.parent / file) if file else page
        assert destination.exists(), f"{name(page)} links to {target}"
        if anchor and destination.suffix == ".md" and not anchor.startswith("refocal."):
            assert anchor in anchors(destination), f"{name(page)} links to {target}"
        elif anchor:
            assert f"::: {anchor}\n" in REFERENCE, f"{name(page)} links to {target}"


def prose_links(text: str) -> str:
    for block in reversed(blocks(text)):
        text = text[: block.start] + text[block.end :]
    return text


def anchors(page: Path) -> set[str]:
    """The ids that headings get."""
    headings = re.findall(r"^#+ (.+)$", prose_links(page.read_text(encoding="utf-8")), re.MULTILINE)
    plain = (re.sub(r"[^\w\s-]", "", heading).strip().lower() for heading in headings)
    return {re.sub(r"[\s-]+", "-", heading) for heading in plain}


def test_the_site_names_every_page() -> None:
    """The navigation is read from the folder; what it names by hand must exist or be on its way."""
    hooks = (DOCS / "site" / "hooks.py").read_text(encoding="utf-8")
    named = set(re.findall(r'"([\w/-]+\.md)"', hooks)) - {"README.md"}
    there = {page.relative_to(DOCS).as_posix() for page in DOCS.rglob("*.md")}
    own = {page for page in there if not page.startswith(("decisions/", "tables/"))}
    assert own <= named, f"docs/site/hooks.py does not say where these go: {own - named}"


def test_nothing_is_fetched_by_a_reader() -> None:
    configuration = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert "font: false" in configuration
    assert "extra_javascript" not in configuration
    styles = (DOCS / "site" / "refocal.css").read_text(encoding="utf-8")
    for text in (configuration, styles):
        assert "://" not in text.replace(refocal_urls(configuration), "")


def refocal_urls(configuration: str) -> str:
    """The addresses of the project itself, which are links and not fetched."""
    found = re.search(r"^repo_url: (\S+)$", configuration, re.MULTILINE)
    return found[1] if found else "\0"


def test_the_version_is_not_in_the_documents() -> None:
    """A number that every release would have to change by hand."""
    for page in RUNNING:
        assert refocal.__version__ not in page.read_text(encoding="utf-8"), name(page)
