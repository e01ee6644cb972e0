"""Finished trainings on disk, each under the hash of all that decides its result.

A run that was stopped, or a longer one, finds here what it need not do again. Nothing else is
resumed: what is computed from the fits is computed anew, so an interrupted run ends with the same
results as one that was not.
"""

from __future__ import annotations

import hashlib
import json
import threading
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from refocal.comparison.errors import CompareError, argument
from refocal.comparison.folder import FITS
from refocal.comparison.training.models import Fit
from refocal.files import replacing


class FitStore:
    """Fits by key: in a folder, or in memory without one.

    Args:
        folder: where `fits/` is; None to keep them in memory for this run.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = None if folder is None else folder / FITS
        self._memory: dict[str, Fit] = {}
        self._lock = threading.Lock()

    def get(self, key: str) -> Fit | None:
        """Return the fit with this key, or None where there is none that can be read whole."""
        with self._lock:
            if key in self._memory:
                return self._memory[key]
        if self._folder is None:
            return None
        try:
            with (
                open(self._folder / f"{key}.npz", "rb") as opened,
                np.load(opened, allow_pickle=False) as file,
            ):
                return Fit(
                    valid_logits=file["valid_logits"],
                    test_logits=file["test_logits"],
                    curve=tuple(file["curve"].tolist()),
                    steps=int(file["steps"]),
                    converged=bool(file["converged"]),
                )
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return None  # not there, or cut off when the machine went down: train it again

    def put(self, key: str, fit: Fit) -> None:
        """Keep a fit; a file appears under its name only when it is complete."""
        if self._folder is None:
            with self._lock:
                self._memory[key] = fit
            return
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            with replacing(self._folder / f"{key}.npz", binary=True) as file:
                np.savez(
                    file,
                    valid_logits=fit.valid_logits,
                    test_logits=fit.test_logits,
                    curve=np.array(fit.curve),
                    steps=np.array(fit.steps),
                    converged=np.array(fit.converged),
                )
        except OSError as error:
            raise CompareError(
                f"{self._folder} cannot be written: {error.strerror or error}. What is finished is"
                f" kept; make room and run it again with {argument('resume', True)}."
            ) from error


def key_of(**description: Any) -> str:
    """Return a short name for everything that decides a result."""
    text = json.dumps(description, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]
