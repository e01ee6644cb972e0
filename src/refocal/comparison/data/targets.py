"""What is predicted: the classes of one column, or several columns of two values each."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from refocal.comparison.data.cells import MISSING_WORDS, listed, plain, tidy, worded
from refocal.comparison.data.table import Bools, Kind, one_hot
from refocal.comparison.errors import CompareError, argument
from refocal.comparison.results import Finding

MOST_CLASSES = 50
# A class needs so many rows to have some in training, validation and test; see `splits`.
_FEWEST = 10
_YES = ("1", "true", "yes", "y", "ja", "j", "oui", "si", "sí", "x")
_NO = ("0", "false", "no", "n", "nein", "non")


@dataclass(frozen=True)
class Targets:
    """What is predicted.

    Attributes:
        kind: of the task.
        matrix: `(n, K)` of the rows that are used.
        classes: K names.
        known: `(N,)`, which rows of the table these are.
        missing: rows without a target.
        findings: what a reader must know about them.
    """

    kind: Kind
    matrix: Bools
    classes: tuple[str, ...]
    known: Bools
    missing: int
    findings: tuple[Finding, ...]


@dataclass(frozen=True)
class _Labels:
    """One column as classes: None where there is no value."""

    name: str
    values: pd.Series[Any]
    findings: list[Finding]
    given: str | None = None

    def ordered(self) -> list[str]:
        """List the values, the rarest first."""
        counts = self.values.value_counts()
        return sorted(map(str, counts.index), key=lambda value: (counts[value], value))


def targets(frame: pd.DataFrame, positive: str | None) -> Targets:
    """Return the targets in columns of a frame.

    Args:
        frame: one column, or several of two values each.
        positive: the value of the one column that counts as positive, against all the others.

    Raises:
        CompareError: a column has no value, one, or too many.
    """
    if frame.shape[1] == 1:
        return _single(_labels(frame.iloc[:, 0], positive))
    if positive is not None:
        raise CompareError(f"{argument('positive')} belongs to a single {argument('target')}.")
    return _several([_labels(frame[name], None) for name in frame.columns])


# --- one column ----------------------------------------------------------------------------------


def _single(labels: _Labels) -> Targets:
    findings = list(labels.findings)
    values = labels.ordered()
    _check_values(labels, values)
    known = labels.values.notna()
    missing = int((~known).sum())
    positive = labels.given
    if positive is None and len(values) > 2:
        values, known = _common(labels, values, known, findings)
    if positive is None and len(values) == 2:
        positive = _rarer(labels, values)
        other = values[1] if positive == values[0] else values[0]
        if positive.lower() in _NO and other.lower() in _YES:
            findings.append(_rarer_no(positive, other))
    used = labels.values[known].to_numpy(dtype=object)
    keep = known.to_numpy(dtype=bool)
    if positive is not None:
        matrix = (used == positive)[:, None].astype(bool)
        return Targets("binary", matrix, (positive,), keep, missing, tuple(findings))
    if len(values) > MOST_CLASSES:
        shown = ", ".join(repr(value) for value in values[:5])
        raise CompareError(
            f"the target {labels.name!r} has {len(values)} different values ({shown}, ...), more"
            f" than {MOST_CLASSES} classes. Name one of them with {argument('positive')} to compare"
            " it with the rest, or sort the values into classes first."
        )
    counts = labels.values.value_counts()
    classes = tuple(sorted(values, key=lambda value: (-counts[value], value)))
    index = pd.Categorical(list(used), categories=list(classes)).codes.astype(np.int64)
    return Targets(
        "multiclass", one_hot(index, len(classes)), classes, keep, missing, tuple(findings)
    )


def _common(
    labels: _Labels, values: list[str], known: pd.Series[Any], findings: list[Finding]
) -> tuple[list[str], pd.Series[Any]]:
    """Return the classes with enough rows; the others are left out where at least two remain."""
    counts = labels.values.value_counts()
    rare = [value for value in values if counts[value] < _FEWEST]
    kept = [value for value in values if counts[value] >= _FEWEST]
    if not rare or len(kept) < 2 or len(kept) > MOST_CLASSES:
        return values, known
    known = known & ~labels.values.isin(rare)
    rows = int(sum(counts[value] for value in rare))
    findings.append(
        Finding(
            "rare-class",
            "warning",
            f"{listed(rare)} of {labels.name!r} {'has' if len(rare) == 1 else 'have'} fewer than"
            f" {_FEWEST} rows, too few to learn and to measure: {rows:,}"
            f" {'row was' if rows == 1 else 'rows were'} left out.",
            "Merge them into another class, or compare one class with the rest with"
            f" {argument('positive')}.",
        )
    )
    return kept, known


def _rarer(labels: _Labels, values: list[str]) -> str:
    """Return the rarer of two values; of equally many the one that says yes."""
    counts = labels.values.value_counts()
    if counts[values[0]] == counts[values[1]] and values[1].lower() in _YES:
        return values[1]
    return values[0]


def _rarer_no(positive: str, other: str) -> Finding:
    return Finding(
        "positive-no",
        "note",
        f"The rarer value {positive!r} counts as positive, not {other!r}.",
        f"Use {argument('positive', other)} if that is what you look for.",
    )


# --- several columns -----------------------------------------------------------------------------


def _several(labels: list[_Labels]) -> Targets:
    for one in labels:
        _check_values(one, one.ordered())
        if len(one.ordered()) > 2:
            raise CompareError(
                f"the target {one.name!r} has {len(one.ordered())} different values; several"
                " targets must have two each."
            )
    findings = [finding for label in labels for finding in label.findings]
    known = np.logical_and.reduce([label.values.notna().to_numpy() for label in labels])
    matrix = np.stack([_present(label) for label in labels], axis=1)[known]
    counts = np.minimum(matrix.sum(0), len(matrix) - matrix.sum(0))
    enough = counts >= _FEWEST
    if not enough.all() and enough.any():
        few = [one.name for one, kept in zip(labels, enough, strict=True) if not kept]
        findings.append(
            Finding(
                "rare-class",
                "warning",
                f"{listed(few)} {'has' if len(few) == 1 else 'have'} fewer than {_FEWEST} rows of"
                " one value, too few to learn and to measure, and was left out.",
                "Collect more of them.",
            )
        )
        matrix = matrix[:, enough]
        labels = [one for one, kept in zip(labels, enough, strict=True) if kept]
    missing = int((~known).sum())
    names = tuple(label.name for label in labels)
    kind: Kind = "multilabel" if len(names) > 1 else "binary"
    return Targets(kind, matrix, names, known, missing, tuple(findings))


def _present(labels: _Labels) -> Bools:
    """Say where yes, true or 1 stands, else the rarer of two values."""
    values = labels.ordered()
    positive = next((value for value in values if value.lower() in _YES), values[0])
    present: Bools = (labels.values == positive).to_numpy(dtype=bool, na_value=False)
    return present


# --- the values of a column ----------------------------------------------------------------------


def _labels(column: pd.Series[Any], positive: str | None) -> _Labels:
    """Return the values of a column as classes, with one name for every spelling of one."""
    name = str(column.name)
    codes, uniques = pd.factorize(_plainly(column))
    counts = np.bincount(codes[codes >= 0], minlength=len(uniques))
    texts = [tidy(worded(one)) for one in uniques]
    keys = [_key(one) for one in texts]
    spellings: dict[str, Counter[str]] = {}
    written: dict[str, set[str]] = {}
    for text, key, raw, count in zip(texts, keys, uniques, counts, strict=True):
        spellings.setdefault(key, Counter())[text] += int(count)
        written.setdefault(key, set()).add(worded(raw))
    given = None if positive is None else _wanted(spellings, positive, name)
    missing, findings = _missing(spellings, given, name)
    names = {
        key: None if key in missing else max(of, key=lambda text: (of[text], text))
        for key, of in spellings.items()
    }
    findings += _merged(written, names, name)
    labels = np.array([*(names[key] for key in keys), None], dtype=object)[codes]
    return _Labels(
        name,
        pd.Series(labels, dtype=object),
        findings,
        None if given is None else names[given],
    )


def _plainly(column: pd.Series[Any]) -> pd.Series[Any]:
    """Values as they are written: whole numbers that missing values turned into fractions are
    whole again (1.0 is 1), and days have no hour.
    """
    if pd.api.types.is_float_dtype(column):
        known = column.dropna()
        if len(known) and (known % 1 == 0).all() and (known.abs() < 2**53).all():
            return column.astype("Int64").astype(object)
    elif pd.api.types.is_datetime64_any_dtype(column):
        known = column.dropna()
        if len(known) and (known == known.dt.normalize()).all():
            days: pd.Series[Any] = column.dt.date.astype(object)
            return days
    return column.astype(object)


def _key(text: str) -> str:
    """Return what the spellings of one value have in common; of numbers every digit counts."""
    try:
        return str(int(text))
    except ValueError:
        pass
    try:
        number = float(text)
    except ValueError:
        return text.casefold()
    return str(int(number)) if number.is_integer() else repr(number)


def _wanted(spellings: dict[str, Counter[str]], positive: str, name: str) -> str:
    """Return the key of the positive value."""
    key = _key(tidy(str(positive)))
    if key in spellings:
        return key
    shown = sorted((max(of, key=lambda one: of[one]) for of in spellings.values()), key=str)
    more = f" and {len(shown) - 20:,} more" if len(shown) > 20 else ""
    raise CompareError(
        f"the target {name!r} has no value {str(positive)!r}. It has"
        f" {', '.join(map(repr, shown[:20]))}{more}."
    )


def _missing(
    spellings: dict[str, Counter[str]], given: str | None, name: str
) -> tuple[set[str], list[Finding]]:
    """Return the keys that mean that there is no value, and what is said about that.

    Beside a single other value a word for missing is the other class. "none" beside several others
    is one of them: nothing found is a result.
    """
    words = {key for key in spellings if plain(key).lower() in MISSING_WORDS or key == "nan"}
    empty = {key for key in words if not key}
    words -= empty
    others = set(spellings) - words - empty
    kept = {word for word in words if word in ("none", given)}
    if len(others | kept) < 2 and words - kept:
        kept.add(max(words - kept, key=lambda key: sum(spellings[key].values())))
    findings = []
    if kept - {given}:
        shown = sorted(max(spellings[key], key=lambda one: spellings[key][one]) for key in kept)
        findings.append(
            Finding(
                "missing-as-class",
                "warning",
                f"{listed(shown)} of the target {name!r} was taken for a class, not for a missing"
                " value.",
                "Leave the cells empty if the value is missing.",
            )
        )
    gone = words - kept
    if gone:
        rows = sum(sum(spellings[key].values()) for key in gone)
        shown = sorted(max(spellings[key], key=lambda one: spellings[key][one]) for key in gone)
        findings.append(
            Finding(
                "target-missing-words",
                "note",
                f"{rows:,} rows where the target {name!r} is {listed(shown)} count as without one.",
                f"Name it with {argument('positive')} if it is a class.",
            )
        )
    return gone | empty, findings


def _merged(written: dict[str, set[str]], names: dict[str, str | None], name: str) -> list[Finding]:
    several = {
        names[key]: sorted(of)
        for key, of in written.items()
        if len(of) > 1 and names[key] is not None
    }
    return [
        Finding(
            "target-spellings",
            "warning",
            f"{listed(of)} of the target {name!r} were taken for one value, {value!r}.",
            "Spell them differently if they are different.",
        )
        for value, of in several.items()
    ]


def _check_values(labels: _Labels, values: list[str]) -> None:
    if len(values) == 0:
        raise CompareError(f"the target {labels.name!r} has no value in any row.")
    if len(values) == 1:
        empty = int(labels.values.isna().sum())
        if empty:
            raise CompareError(
                f"the target {labels.name!r} is {values[0]!r} or has no value ({empty:,} rows)."
                " If these are the other class, write a word for it into them."
            )
        raise CompareError(
            f"the target {labels.name!r} is constant: every row is {values[0]!r}. Name another"
            " column."
        )
