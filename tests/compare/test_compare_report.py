"""The report, its plots and its folder."""

from __future__ import annotations

import dataclasses
import html as markup
import importlib.util
import io
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose
from tables import made_table

from refocal import comparison
from refocal.comparison import Plan, Results, by_name
from refocal.comparison.drawing import COLOURS, axes, to_svg
from refocal.comparison.progress import Progress, duration
from refocal.comparison.report import wording
from refocal.comparison.report.files import report_files
from refocal.comparison.report.page import _unbroken, html
from refocal.comparison.report.plots import plots
from refocal.comparison.results import Estimate


@pytest.fixture(scope="module")
def results() -> Results:
    return comparison.run(made_table(), by_name(["logistic"]), Plan(quick=True))


@pytest.fixture(scope="module")
def files(results: Results) -> dict[str, str]:
    return report_files(results)


def test_report_files(results: Results, files: dict[str, str]) -> None:
    assert files == report_files(results)  # no time stamp, no random id
    page = files["report.html"]
    assert page.count(results.recommendation.headline.replace("'", "&#39;")) == 2
    assert page.count("<script") == 2  # the data of the controls, and what moves them
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "://" not in re.sub(r'xmlns(:\w+)?="[^"]*"|<!DOCTYPE[^>]*>', "", page)
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)
    assert json.loads(files["results.json"])["schema"] == "refocal.compare/8"
    rows = pd.read_csv(io.StringIO(files["results.csv"]))
    assert list(rows["family"]) == [loss.name for loss in results.losses]
    assert list(rows["loss"]) == [loss.loss for loss in results.losses]
    values = [x.figures["log_loss_posterior"].value for x in results.losses]
    assert_allclose(rows["log_loss_posterior"], values)


def test_every_plot_is_valid_svg_that_follows_the_page_s_colour(files: dict[str, str]) -> None:
    drawn = {name: text for name, text in files.items() if name.endswith(".svg")}
    assert len(drawn) == 8
    for text in drawn.values():
        assert ElementTree.fromstring(text).tag == "{http://www.w3.org/2000/svg}svg"
        assert "currentColor" in text
        assert "#010203" not in text
        assert "prefers-color-scheme" in text


def test_names_from_the_data_cannot_write_html(results: Results) -> None:
    data = dataclasses.replace(results.data, name="<script>alert(1)</script>", target="<i>")
    explore = {**(results.explore or {}), "kinds": ["</script><i>"] * 4}
    wicked = dataclasses.replace(results, data=data, explore=explore)
    drawn = dict.fromkeys(plots(wicked), "")
    page = html(wicked, drawn)
    assert page.count("<script>") == 1  # ours
    assert "<script>alert" not in page
    assert page.count("</script>") == 2
    assert "<i>" not in page
    assert "&lt;script&gt;" in page


def test_the_controls_show_what_the_library_computed(results: Results) -> None:
    found = results.explore
    assert found is not None
    for moment in ("start", "fitted"):
        shares = np.array(found[moment])
        assert shares.shape == (len(found["alphas"]), len(found["gammas"]), 4)
        assert_allclose(shares.sum(2), 1.0, atol=3e-4)
    # without alpha and gamma it is cross-entropy, whose sigmoid is the probability
    assert_allclose(found["start"][0][0], found["fitted"][0][0], atol=1e-9)
    plain = results.losses[0].gradient
    assert_allclose(found["start"][0][0], [share.start for share in plain], atol=0.01)
    focal = next(loss for loss in results.losses if (loss.alpha, loss.gamma) == (0.25, 2.0))
    at = found["gammas"].index(2.0)
    assert_allclose(found["start"][1][at], [share.start for share in focal.gradient], atol=0.01)


CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium")


def browsed(page: str, folder: Path, width: int = 1400) -> tuple[str, str]:
    """The page as Chromium leaves it, and what it logged."""
    path = folder / "browsed.html"
    path.write_text(page, encoding="utf-8")
    done = subprocess.run(
        [
            str(CHROMIUM),
            *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
            *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
            f"--user-data-dir={folder / 'profile'}",
            *(f"--window-size={width},900", "--enable-logging=stderr", "--dump-dom"),
            path.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=1800,
        check=True,
    )
    return done.stdout, done.stderr


def noted(dom: str, name: str) -> Any:
    """What a script wrote into a data attribute of the body."""
    found = re.search(rf'data-{name}="([^"]*)"', dom)
    assert found is not None
    return json.loads(markup.unescape(found[1]))


@needs_chromium
def test_the_page_runs_in_a_browser(files: dict[str, str], tmp_path: Path) -> None:
    """The scripts run without an error, and the controls move the picture."""
    checks = """
    <script>
    addEventListener("error", (e) => { document.title = "error: " + e.message; });
    addEventListener("load", () => {
      const line = document.querySelector("[data-line]");
      const before = line.getAttribute("points");
      const gamma = document.getElementById("explore-gamma");
      gamma.value = 0;
      gamma.dispatchEvent(new Event("input"));
      document.body.dataset.seen = JSON.stringify([before !== line.getAttribute("points"),
        gamma.getAttribute("aria-valuetext"), document.getElementById("explore-controls").hidden]);
      // what the keyboard reaches, in the order in which Tab goes: that of the page
      const reached = [...document.querySelectorAll("a[href], button, input, select, [tabindex]")];
      document.body.dataset.keys = JSON.stringify(reached.map((one) => {
        one.focus();
        const name = one.getAttribute("aria-label") ?? one.closest("label, a, button")?.textContent;
        return [one.localName, one.tabIndex, document.activeElement === one, (name ?? "").trim()];
      }));
    });
    </script></body>"""
    dom, log = browsed(files["report.html"].replace("</body>", checks), tmp_path, width=500)
    assert "CONSOLE" not in log
    assert noted(dom, "seen") == [True, "γ 0", False]
    reached = noted(dom, "keys")
    assert reached[0][0] == "a"  # past the head of the page
    assert {"input", "select"} <= {kind for kind, *_ in reached}
    for kind, index, focused, name in reached:
        assert (index, focused) == (0, True), (kind, name)
        assert name, kind


# For each width: what sticks out of the page or of its own box, and of each table how many of its
# cells and names of columns a reader sees.
_LOOK = """
<script>
addEventListener("load", () => {
  const found = {};
  for (const frame of document.querySelectorAll("iframe")) {
    const view = frame.contentDocument;
    const wide = frame.clientWidth;
    const out = [];
    const whole = view.documentElement.scrollWidth;
    if (whole > wide) out.push("page " + whole);
    for (const one of view.querySelectorAll("main *, header *")) {
      if (one.closest("thead, svg") || !one.getClientRects().length) continue;
      const box = one.getBoundingClientRect();
      const cut = one.clientWidth > 0 && one.scrollWidth > one.clientWidth + 1;
      if (box.right > wide + 1 || box.left < -1 || cut) out.push(one.outerHTML.slice(0, 90));
    }
    const tables = [...view.querySelectorAll("table")].map((table) => {
      const heads = table.tHead.getBoundingClientRect().height > 5;
      const cells = [...table.querySelectorAll("td")];
      const named = cells.every((cell) => heads
        || view.defaultView.getComputedStyle(cell, "::before").content.length > 2);
      const seen = cells.every((cell) => cell.getBoundingClientRect().height > 0);
      return [table.caption.textContent, cells.length, named, seen];
    });
    found[wide] = [out, tables];
  }
  document.body.dataset.found = JSON.stringify(found);
});
</script>"""


def several_tables() -> dict[str, Results]:
    """Pages of every kind: long names, several models, more classes than a matrix shows."""
    long = "customers_who_left_within_a_quarter_of_their_first_purchase"
    many = made_table("multiclass", rows=900)
    parts = np.random.default_rng(0).integers(0, 12, many.rows)
    names = tuple(f"class {k} with a name of some length" for k in range(12))
    tables = {
        "binary": dataclasses.replace(made_table(), name=f"{long}.csv", target=long),
        "multiclass": made_table("multiclass"),
        "multilabel": dataclasses.replace(made_table("multilabel"), classes=("fault", long)),
        "twelve": dataclasses.replace(many, targets=np.eye(12, dtype=bool)[parts], classes=names),
    }
    plan = Plan(quick=True, repeats=2, epochs=1)
    models = {"binary": ["logistic", "mlp"]}
    return {
        name: comparison.run(table, by_name(models.get(name, ["logistic"])), plan)
        for name, table in tables.items()
    }


@needs_chromium
def test_no_table_is_cut_at_any_width(tmp_path: Path) -> None:
    for name, results in several_tables().items():
        page = report_files(results)["report.html"]
        frames = "".join(
            f'<iframe width="{width}" height="900" frameborder="0"'
            f' srcdoc="{markup.escape(page)}"></iframe>'
            for width in (1280, 768, 390)
        )
        dom, _ = browsed(f"<!doctype html><body>{frames}{_LOOK}</body>", tmp_path)
        found = noted(dom, "found")
        assert set(found) == {"1280", "768", "390"}
        for width, (out, tables) in found.items():
            assert out == [], (name, width)
            assert len(tables) >= 7
            for caption, cells, named, seen in tables:
                assert cells > 0, (name, width, caption)
                assert named, (name, width, caption)
                assert seen, (name, width, caption)


@needs_chromium
def test_the_readme_s_picture_is_made_by_a_command(
    files: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = Path(__file__).parents[2]
    kept = root / "docs" / "img" / "report.png"
    assert "docs/img/report.png" in (root / "README.md").read_text(encoding="utf-8")
    (tmp_path / "report.html").write_text(files["report.html"], encoding="utf-8")
    spec = importlib.util.spec_from_file_location("picture", root / "scripts" / "report_picture.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    monkeypatch.setattr("sys.argv", ["x", str(tmp_path), str(tmp_path / "report.png")])
    script.main()
    for picture in (kept, tmp_path / "report.png"):
        content = picture.read_bytes()
        assert content.startswith(b"\x89PNG")
        width, height = (int.from_bytes(content[at : at + 4], "big") for at in (16, 20))
        assert (width, height) == script.SIZE
        assert len(content) <= 200_000


def test_every_table_is_one_for_those_who_hear_it(files: dict[str, str]) -> None:
    page = files["report.html"]
    tables = re.findall(r"<table.*?</table>", page, re.DOTALL)
    assert len(tables) >= 7
    for table in tables:
        assert table.startswith("<table class=")
        assert "<caption>" in table
        heads = re.findall(r"<th [^>]*>", table)
        assert heads
        assert all("scope=" in head and "role=" in head for head in heads)
        # every figure knows its column, which a phone writes above it
        assert all("data-label=" in cell for cell in re.findall(r"<td [^>]*>", table))
    for level in ("h1", "main", "header", "nav"):
        assert page.count(f"<{level}>") + page.count(f"<{level} ") == 1


def test_the_answer_comes_first(results: Results, files: dict[str, str]) -> None:
    """One sentence, one picture, why in three sentences, how sure in one; then all the rest."""
    answer = results.recommendation
    page = markup.unescape(files["report.html"])
    assert len(answer.reasons) == 3
    parts = [f"<h1>{answer.headline}</h1>", 'aria-label="Difference in average precision', ">Why<"]
    parts += [*answer.reasons, "How sure", answer.sure, '<section id="use">', "<table"]
    places = [page.index(part) for part in parts]
    assert places == sorted(places)
    for text in (answer.sure, *answer.reasons, answer.headline):
        assert text.endswith(".")
        assert ". " not in text.removesuffix(".")


def test_no_line_breaks_an_option_in_two() -> None:
    said = _unbroken("a --b <i>, so read about --rows 3000; x -- y, --at-precision.")
    assert said == (
        'a <span class="whole">--b</span> &lt;i&gt;, so read about'
        ' <span class="whole">--rows 3000</span>; x -- y,'
        ' <span class="whole">--at-precision</span>.'
    )


def test_every_figure_says_which_split_it_shows(files: dict[str, str]) -> None:
    page = files["report.html"]
    assert page.count("the first that picked what its family picked most often") == 2
    assert "plain sigmoid" in page
    assert "clearly" not in page


def test_a_softmax_is_not_called_a_sigmoid() -> None:
    plan = Plan(quick=True)
    results = comparison.run(made_table("multiclass"), by_name(["logistic"]), plan)
    drawn = report_files(results)["plots/reliability-raw.svg"]
    assert "plain softmax" in drawn
    assert "sigmoid" not in drawn


@pytest.mark.parametrize(
    ("ends", "text"),
    [
        ((0.05, 0.01, 0.09), "+0.050 (95 % interval +0.010 to +0.090)"),
        ((-0.05, -0.09, -0.01), "−0.050 (95 % interval −0.090 to −0.010)"),
        ((0.00004, -0.0001, 0.00018), "+0.00004 (95 % interval −0.00010 to +0.00018)"),
        ((0.0, 0.0, 0.0), "0 in every split"),
        ((0.0, -0.011, 0.0), "0 (95 % interval −0.011 to 0)"),
        ((None, None, None), "an undefined amount"),
    ],
)
def test_an_interval_has_the_digits_it_needs(
    ends: tuple[float | None, float | None, float | None], text: str
) -> None:
    assert wording.interval(Estimate(*ends)) == text


@pytest.mark.parametrize(
    ("p", "text"), [(None, "–"), (0.0, "< 0.001"), (0.0004, "< 0.001"), (0.031, "0.031")]
)
def test_p_values(p: float | None, text: str) -> None:
    assert wording.probability(p) == text


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2.2: https://www.w3.org/TR/WCAG22/#dfn-relative-luminance."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * one for one in colour[1:])
    channels = np.frombuffer(bytes.fromhex(digits), np.uint8) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def contrast(one: str, other: str) -> float:
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_colours_stand_out_in_light_and_dark(files: dict[str, str]) -> None:
    """WCAG AA: 4.5 for text, 3 for what is drawn and for the ring around what has the focus."""
    assert_allclose(contrast("#000", "#ffffff"), 21)
    schemes = re.findall(r":root \{([^}]*)\}", files["report.html"])
    assert len(schemes) == 3  # light, dark, printed
    colours: dict[str, str] = {}
    for scheme in schemes:
        colours |= re.findall(r"--(\w+): (#\w+)", scheme)  # what a scheme leaves out stays
        for text in ("ink", "soft", "mark", "warn"):
            for ground in ("paper", "box"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        for drawn in (*(colours[f"k{k}"] for k in range(4)), *COLOURS, colours["mark"]):
            assert contrast(drawn, colours["paper"]) >= 3, drawn


def test_summary_names_every_loss_and_the_answer(results: Results) -> None:
    text = comparison.summary(results)
    for loss in results.losses:
        assert loss.name in text
    assert results.recommendation.headline in text


def test_a_figure_s_text_is_safe_in_its_title() -> None:
    figure, _ = axes()
    assert 'aria-label="a &amp; b"' in to_svg(figure, name="n", title="a & b")


# --- progress ------------------------------------------------------------------------------------


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_is_plain_lines_in_a_pipe() -> None:
    stream = io.StringIO()
    progress = Progress(2, stream)
    progress.working("first")
    progress.finished("first")
    progress.close()
    assert stream.getvalue() == "1/2, 0 s left  first\n"


def test_progress_is_one_moving_line_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    stream = Terminal()
    progress = Progress(2, stream)
    progress.working("first, a long text" * 9)
    progress.finished("first")
    progress.close()
    text = stream.getvalue()
    assert "\n" not in text
    assert "1/2, 0 s left" in text
    assert max(map(len, text.split("\r"))) == 59
    assert text.split("\r")[-2].strip() == ""  # wiped


def test_work_that_was_done_before_is_no_measure_of_what_is_left() -> None:
    stream = io.StringIO()
    progress = Progress(9, stream)
    progress.finished("first", trained=False)
    assert stream.getvalue() == "1/9  first\n"


@pytest.mark.parametrize(("seconds", "text"), [(4.4, "4 s"), (600, "10 min"), (7200, "2.0 h")])
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text
