"""Runs the trainings of a split side by side, through the store: one thread each, or elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from contextvars import copy_context
from dataclasses import replace
from typing import TypeVar

import torch

from refocal.comparison.data.prepare import Prepared
from refocal.comparison.plan import Plan
from refocal.comparison.progress import Progress
from refocal.comparison.training.models import Fit, Watch, Work, trained, unwatched
from refocal.comparison.training.spread import Errand, is_away, spread
from refocal.comparison.training.store import FitStore
from refocal.comparison.training.tuning import (
    WIDENINGS,
    Contest,
    Picked,
    Training,
    kept_on,
    rungs,
)

Job = TypeVar("Job")
Result = TypeVar("Result")


def contested(
    contests: Sequence[Contest],
    data: Prepared,
    plan: Plan,
    store: FitStore,
    progress: Progress,
    searched: Sequence[Sequence[Training]] = (),
) -> list[Picked]:
    """Return what every family is judged by on one split.

    Args:
        contests: families that have not begun.
        data: the split.
        plan: how much work.
        store: where fits are kept.
        progress: counts the trainings.
        searched: for each contest trainings that a search found, which join on all rows.
    """
    ladder = rungs(data, plan.seed_of(contests[0].split, 0), quick=plan.quick)
    field: list[list[Training]] = [
        contest.opening(plan.quick, part=len(ladder) > 1) for contest in contests
    ]
    _enter(contests, field, ladder[0], plan, store, progress)
    if not plan.quick:
        field = [contest.second() for contest in contests]
        _enter(contests, field, ladder[0], plan, store, progress)
        for _ in range(WIDENINGS):
            field = [contest.wider() for contest in contests]
            progress.expect(sum(map(len, field)))
            _enter(contests, field, ladder[0], plan, store, progress)
    best = [contest.ranked() for contest in contests]
    for number, rung in enumerate(ladder[1:], start=1):
        field = [one[: kept_on(number, len(ladder))] for one in best]
        _enter(contests, field, rung, plan, store, progress)
        best = [one.ranked(entries) for one, entries in zip(contests, field, strict=True)]
    if searched:
        progress.expect(sum(map(len, searched)))  # a search keeps its own fits
        _enter(contests, searched, data, plan, store, progress)
        best = [
            one.ranked([*before[:1], *new])
            for one, before, new in zip(contests, best, searched, strict=True)
        ]
    picked = [one[0] for one in best]
    fits = train_all(contests, picked, data, plan, store, None)
    return [
        Picked(training, fit, len(one.reached), tuple(one.findings(training)))
        for one, training, fit in zip(contests, picked, fits, strict=True)
    ]


def _enter(
    contests: Sequence[Contest],
    field: Sequence[Sequence[Training]],
    data: Prepared,
    plan: Plan,
    store: FitStore,
    progress: Progress,
) -> None:
    """Train what each contest asks for, all of them side by side."""
    of = [one for one, entries in zip(contests, field, strict=True) for _ in entries]
    every = [training for entries in field for training in entries]
    fits = iter(train_all(of, every, data, plan, store, progress))
    for one, entries in zip(contests, field, strict=True):
        one.take(entries, [next(fits) for _ in entries])


def train_all(
    contests: Sequence[Contest],
    trainings: Sequence[Training],
    data: Prepared,
    plan: Plan,
    store: FitStore,
    progress: Progress | None,
) -> list[Fit]:
    """Return the fit of every training, in order; those in the store are not repeated.

    A training that fails, or an interrupt, stops the others.

    Args:
        contests: whose each training is.
        trainings: what to train.
        data: the split, or a part of it.
        plan: how much work.
        store: where fits are kept.
        progress: counts them; None where they were counted already.
    """
    names = [training.name(one.axes) for one, training in zip(contests, trainings, strict=True)]
    keys = [training.key(data, plan) for training in trainings]
    found = [store.get(key) for key in keys]
    counted = progress or Progress(max(1, len(keys)), quiet=True)
    for name, fit in zip(names, found, strict=True):
        if fit is not None:
            counted.finished(f"{name}: taken from the earlier run", trained=False)
    missing = [index for index, fit in enumerate(found) if fit is None]
    part = len(data.split.test) == 1  # nothing is tested on a part of the rows
    data.encode()

    def keep(index: int, fit: Fit) -> None:
        if part:
            fit = replace(fit, valid_logits=fit.valid_logits[:0], test_logits=fit.test_logits[:0])
        store.put(keys[index], fit)
        found[index] = fit
        counted.finished(f"{names[index]}: validation average precision {fit.score:.3f}")

    def work(index: int, watch: Watch = unwatched) -> Work:
        training = trainings[index]
        seed = training.seed(plan)
        return Work(training.entry.loss, training.setting, data, plan.effort, seed, watch)

    def train(index: int) -> None:
        model, name = trainings[index].entry.model, names[index]

        def watch(step: int, score: float | None) -> None:
            counted.check()
            reached = "" if score is None else f": average precision {score:.3f}"
            counted.working(f"{name}, {model.unit} {step}{reached}")

        keep(index, trained(model, work(index, watch)))

    if is_away():
        for number, fit in spread(
            [Errand(trainings[index].entry.model, work(index)) for index in missing], counted
        ):
            keep(missing[number], fit)
    else:
        side_by_side(train, missing, counted)
    return [fit for fit in found if fit is not None]


def side_by_side(
    work: Callable[[Job], Result], jobs: Sequence[Job], progress: Progress
) -> list[Result]:
    """Return the work on every job, in order: as many at once as torch has threads, each on one of
    them.

    The layers are too small to share: two threads on one of them wait for each other more than
    they work, above all on a busy machine. Figures then do not depend on the number of threads.

    The first that fails stops the others, and so does an interrupt.
    """
    with one_thread() as threads:
        with ThreadPoolExecutor(threads) as pool:
            # with the context of the caller, in which messages are spelled
            runs = [pool.submit(copy_context().run, work, job) for job in jobs]
            try:
                done, _ = wait(runs, return_when=FIRST_EXCEPTION)
                for run in done:
                    run.result()  # raises what stopped the wait
            except BaseException:  # a keyboard interrupt too: let no thread train on
                progress.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        return [run.result() for run in runs]


@contextmanager
def one_thread() -> Iterator[int]:
    """Torch computes on one thread here; gives how many it had.

    On arrays as small as a test part threads wait for each other more than they work, and sums
    depend on how many there are.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield threads
    finally:
        torch.set_num_threads(threads)
