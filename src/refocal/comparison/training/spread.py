"""Trainings on other processes and machines, by whatever backend joblib was given.

Without one they run on threads of this process (`schedule`). `joblib.parallel_config` sends them
elsewhere, and `backend` is that with a Dask scheduler. What travels is one split with its encoded
rows, and what comes back are the logits; everything else, the store too, stays here. A fit depends
on nothing but what is sent, so it is the same bit for bit wherever it was made, as long as the
versions are the same, which is asked of every worker, and its processor is of the same kind.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import joblib
import numpy as np
import torch

from refocal import extras
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.data.splits import Split
from refocal.comparison.data.synthetic import Block
from refocal.comparison.data.table import Bools, Floats, Kind, Table
from refocal.comparison.errors import CompareError, argument
from refocal.comparison.progress import Progress
from refocal.comparison.results import Sampling
from refocal.comparison.training.losses import Loss
from refocal.comparison.training.models import Effort, Fit, Model, Work, trained
from refocal.comparison.training.settings import Setting

PARTS = ("train", "valid", "test")
_PACKAGES = ("refocal", "numba", "xgboost", "lightgbm", "catboost")
_ATTEMPTS = 4  # of what lost workers took with them
_PATIENCE = 20  # seconds for a scheduler to answer


@dataclass(frozen=True)
class _Done:
    number: int
    fit: Fit


@dataclass(frozen=True)
class _Stopped:
    error: Exception


# joblib's backend and number of jobs, as they were where the run began
_BACKEND: ContextVar[tuple[Any, Any] | None] = ContextVar("backend", default=None)


def is_away() -> bool:
    """Say whether trainings go to a backend that does not share the memory of this process."""
    backend, _ = _BACKEND.get() or (None, None)
    # Dask's does not say
    return backend is not None and not getattr(backend, "supports_sharedmem", False)


@contextmanager
def backend(address: str | None) -> Iterator[None]:
    """Send the trainings of the block, and nothing else, to the workers of a Dask scheduler.

    Args:
        address: as "tcp://HOST:PORT"; None for the backend that joblib was given, if any.

    Raises:
        CompareError: no scheduler answers there, or it has no worker.
        ImportError: Dask is not installed.
    """
    if address is None:
        with _taken():
            yield
        return
    name = argument("cluster", address)
    extras.need(name, "cluster")
    import distributed

    try:
        client = distributed.Client(address, timeout=_PATIENCE, set_as_default=False)
    except (OSError, ValueError) as error:
        raise CompareError(
            f"{name}: no Dask scheduler answers there. Start one with `dask scheduler`, and"
            " `dask worker ADDRESS` on each machine."
        ) from error
    with client:
        if not client.ncores():
            raise CompareError(
                f"{name}: the scheduler has no worker. Start `dask worker ADDRESS` on each machine."
            )
        with joblib.parallel_config(backend="dask", client=client), _taken():
            yield


@contextmanager
def _taken() -> Iterator[None]:
    """Keep joblib's backend for the trainings: scikit-learn would use it for each encoding."""
    token = _BACKEND.set(joblib.parallel.get_active_backend(prefer="threads"))
    try:
        with joblib.parallel_config("sequential"):
            yield
    finally:
        _BACKEND.reset(token)


@dataclass(frozen=True)
class Errand:
    """One training, to be done anywhere."""

    model: Model
    work: Work


def spread(jobs: Sequence[Errand], progress: Progress) -> Iterator[tuple[int, Fit]]:
    """Yield the fits of jobs with their numbers, each when it is done.

    A worker that is lost takes with it what it was training, which is then sent to another.

    Args:
        jobs: all on the same split.
        progress: told of what was lost.

    Raises:
        CompareError: a training cannot be done, a worker has other versions, or too many were lost.
    """
    waiting = dict(enumerate(jobs))
    for attempt in range(1, _ATTEMPTS + 1):
        if not waiting:
            return
        try:
            for done in _sent(waiting):
                if isinstance(done, _Stopped):
                    break
                if not isinstance(done, _Done):  # what a backend says of a call that it cancelled
                    raise RuntimeError(repr(done))
                del waiting[done.number]
                yield done.number, done.fit
            else:
                return
        except Exception as error:  # a backend's own, each has others: a training returns its error
            lost = error
        else:
            raise done.error
        reason = " ".join(str(lost).split())[:200]
        if attempt == _ATTEMPTS:
            raise CompareError(
                f"workers were lost {attempt} times, with {len(waiting)} trainings to go: {reason}."
                f" What is finished is kept; run it again with {argument('resume', True)}."
            ) from lost
        progress.note(f"A worker was lost; {len(waiting)} trainings are sent again: {reason}")


def _sent(jobs: Mapping[int, Errand]) -> Iterator[Any]:
    """Hand jobs to joblib's backend, their split once."""
    data = next(iter(jobs.values())).work.data
    parts = [getattr(data, part).numpy() for part in PARTS]
    labels = [data.labels(part) for part in PARTS]
    here = versions()
    chosen, count = _BACKEND.get() or ("threading", 1)
    with joblib.parallel_config(backend=chosen, n_jobs=count or -1):
        pool = joblib.Parallel(return_as="generator_unordered", batch_size=1)
    return iter(
        pool(
            joblib.delayed(_train)(
                number,
                job.model,
                (job.work.loss, job.work.setting, job.work.effort, job.work.seed),
                here,
                data.kind,
                data.table.sampling,
                data.blocks,
                # each an argument of its own, which backends send once or map into memory
                *parts,
                *labels,
            )
            for number, job in tuple(jobs.items())
        )
    )


def _train(
    number: int,
    model: Model,
    how: tuple[Loss, Setting, Effort, int],
    there: str,
    kind: Kind,
    sampling: Sampling | None,
    blocks: tuple[Block, ...],
    *arrays: Any,
) -> _Done | _Stopped:
    """Do a job, in another process; an error of the training is returned and not raised."""
    try:
        if versions() != there:
            raise CompareError(
                f"a worker on {platform.node()} has {versions()}, and this process {there}: with"
                " other versions figures differ. Install the same."
            )
        # for good: another training of this process must not set it back in the middle of this one
        torch.set_num_threads(1)
        loss, setting, effort, seed = how
        data = _prepared(kind, sampling, blocks, arrays[:3], arrays[3:])
        fit = trained(model, Work(loss, setting, data, effort, seed))
    except Exception as error:
        return _Stopped(error)
    return _Done(number, fit)


def _prepared(
    kind: Kind,
    sampling: Sampling | None,
    blocks: tuple[Block, ...],
    parts: Sequence[Floats],
    labels: Sequence[Bools],
) -> Prepared:
    """Return a split of encoded rows alone."""
    targets = np.concatenate(labels)
    ends = np.cumsum([len(one) for one in labels])
    rows = np.split(np.arange(len(targets)), ends[:-1])
    names = tuple(map(str, range(targets.shape[1])))
    features = torch.empty(len(targets), 0)
    table = Table("sent", features, targets, "target", names, kind, sampling=sampling)
    data = Prepared(table, Split(*rows))
    # what was mapped into memory cannot be written, and torch wants to be able to
    own = [one if one.flags.writeable else one.copy() for one in parts]
    data.__dict__.update(zip(PARTS, map(torch.from_numpy, own), strict=True), blocks=blocks)
    return data


def versions() -> str:
    """Return the versions that decide a fit's bits, as text."""
    found = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    for name in _PACKAGES:
        with suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return ", ".join(found)
