"""Runs trainings side by side, one thread each, through the store."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager

import torch

from refocal.compare.models import Fit
from refocal.compare.plan import Plan, Training
from refocal.compare.prepare import Prepared
from refocal.compare.progress import Progress
from refocal.compare.store import FitStore


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

    with one_thread_each() as workers, ThreadPoolExecutor(workers) as pool:
        runs: list[Future[None]] = []
        try:
            runs += [pool.submit(train, index) for index in missing]
            done, _ = wait(runs, return_when=FIRST_EXCEPTION)
            for run in done:
                run.result()  # raises what stopped the wait
        except BaseException:  # a keyboard interrupt too: let no thread train on
            progress.stop()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return [fit for fit in found if fit is not None]


@contextmanager
def one_thread_each() -> Iterator[int]:
    """As many trainings at once as torch has threads, each on one of them.

    The layers are too small to share: two threads on one of them wait for each other more than
    they work, above all on a busy machine. Figures then do not depend on the number of threads.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
