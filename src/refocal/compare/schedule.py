"""Runs trainings side by side, one thread each, through the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TypeVar

import torch

from refocal.compare.data.prepare import Prepared
from refocal.compare.models import Fit
from refocal.compare.plan import Plan, Training
from refocal.compare.progress import Progress
from refocal.compare.store import FitStore

Job = TypeVar("Job")
Result = TypeVar("Result")


def train_all(
    trainings: Sequence[Training],
    data: Prepared,
    plan: Plan,
    store: FitStore,
    progress: Progress,
) -> list[Fit]:
    """The fit of every training, in order; those in the store are not repeated.

    A training that fails, or an interrupt, stops the others.
    """
    keys = [training.key(data, plan) for training in trainings]
    found = [store.get(key) for key in keys]
    for training, fit in zip(trainings, found, strict=True):
        if fit is not None:
            progress.finished(f"{training.name}: taken from the earlier run", trained=False)
    missing = [index for index, fit in enumerate(found) if fit is None]
    if not missing:
        return [fit for fit in found if fit is not None]
    data.encode()

    def train(index: int) -> None:
        training = trainings[index]

        def report(step: int, score: float) -> None:
            progress.check()
            unit = "epoch" if training.model.network else "round"
            progress.working(f"{training.name}, {unit} {step}: average precision {score:.3f}")

        fit = training.model.fit(
            training.candidate, training.rate, data, plan.effort, seed=plan.seed, report=report
        )
        store.put(keys[index], fit)
        found[index] = fit
        progress.finished(f"{training.name}: validation average precision {fit.score:.3f}")

    side_by_side(train, missing, progress)
    return [fit for fit in found if fit is not None]


def side_by_side(
    work: Callable[[Job], Result], jobs: Sequence[Job], progress: Progress
) -> list[Result]:
    """The work on every job, in order: as many at once as torch has threads, each on one of them.

    The layers are too small to share: two threads on one of them wait for each other more than
    they work, above all on a busy machine. Figures then do not depend on the number of threads.

    The first that fails stops the others, and so does an interrupt.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with ThreadPoolExecutor(threads) as pool:
            runs = [pool.submit(work, job) for job in jobs]
            try:
                done, _ = wait(runs, return_when=FIRST_EXCEPTION)
                for run in done:
                    run.result()  # raises what stopped the wait
            except BaseException:  # a keyboard interrupt too: let no thread train on
                progress.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [run.result() for run in runs]
    finally:
        torch.set_num_threads(threads)
