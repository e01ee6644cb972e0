"""Classifiers as JSON and back. A grid search chooses NumPy scalars, a class may be a number."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from refocal.messages import refuse

FORMAT = "refocal-boosting-1"
TUPLE, PAIRS = "refocal.tuple", "refocal.pairs"


def python_number(value: Any) -> Any:
    """Return a NumPy scalar as Python's own; a tuple of them likewise; anything else as it is."""
    if isinstance(value, tuple):
        return tuple(python_number(one) for one in value)
    return value.item() if isinstance(value, np.generic) else value


def as_json(name: str, value: Any) -> Any:
    """Return what JSON has for a setting, without losing that it was a tuple or had keys of other
    types.

    Raises:
        TypeError: it is, or holds, what no JSON can give back.
    """
    value = python_number(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.ndarray):
        return as_json(name, value.tolist())
    if isinstance(value, list):
        return [as_json(name, one) for one in value]
    if isinstance(value, tuple):
        return {TUPLE: [as_json(name, one) for one in value]}
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {str(key): as_json(name, one) for key, one in value.items()}
        pairs = ((as_json(name, key), as_json(name, one)) for key, one in value.items())
        return {PAIRS: [list(pair) for pair in pairs]}
    raise TypeError(
        f"{name} must be a number, a text, or a list, tuple or dictionary of them to be saved, got "
        f"{type(value).__name__}. Pickle the classifier instead."
    )


def from_json(value: Any) -> Any:
    """Return the setting that `as_json` was given."""
    if isinstance(value, list):
        return [from_json(one) for one in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {TUPLE}:
        return tuple(from_json(one) for one in value[TUPLE])
    if value.keys() == {PAIRS}:
        return {from_json(key): from_json(one) for key, one in value[PAIRS]}
    return {key: from_json(one) for key, one in value.items()}


def as_text(model: Any) -> str:
    """Write a fitted `FocalClassifier` as JSON: the host's model with link, start and classes.

    Raises:
        TypeError: a parameter or a class is nothing that JSON can hold.
    """
    name = type(model).__name__
    classes = model.classes_.tolist()
    if not all(isinstance(label, (str, int, float, bool)) for label in classes):
        raise refuse(
            name,
            "classes",
            "be strings, numbers or booleans to be saved",
            type(classes[0]).__name__,
            "Pickle the classifier instead.",
            TypeError,
        )
    content = {
        "format": FORMAT,
        "classifier": name,
        "parameters": {
            key: as_json(f"{name}: {key}", value) for key, value in model.get_params().items()
        },
        "objective": model.objective_.settings,
        "start": model.start_,
        "classes": classes,
        "classes_dtype": model.classes_.dtype.str,
        "n_features_in": model.n_features_in_,
        "feature_names_in": list(map(str, getattr(model, "feature_names_in_", []))),
        "model": model._model_text(),
    }
    return json.dumps(content)


def restored(kind: Any, content: dict[str, Any]) -> Any:
    """Make a classifier of this kind of what `as_text` wrote.

    Raises:
        ValueError: the text is not one that this kind wrote.
    """
    name = kind.__name__
    if content.get("format") != FORMAT or content.get("classifier") != name:
        raise refuse(
            name,
            "the file",
            f"have been written by {name}.save",
            content.get("classifier", "something else"),
            "Use the class that saved it.",
        )
    host = kind.HOST.load(name)
    # files of before 0.2 have tuples as lists
    parameters = {
        key: tuple(value) if key in ("alpha", "gamma") and isinstance(value, list) else value
        for key, value in from_json(content["parameters"]).items()
    }
    model = kind(**parameters)
    model.classes_ = np.array(content["classes"], dtype=content["classes_dtype"])
    settings = content["objective"]
    if isinstance(settings["gamma"], list):
        settings["gamma"] = tuple(settings["gamma"])
    model.objective_ = model._kind(**settings)
    model.start_ = content["start"]
    model.n_features_in_ = content["n_features_in"]
    if content["feature_names_in"]:
        model.feature_names_in_ = np.array(content["feature_names_in"], dtype=object)
    model.booster_ = model._model_of(host, content["model"])
    return model
