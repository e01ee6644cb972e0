"""The comparison: train every loss, measure it, recommend one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import FIRST_EXCEPTION, CancelledError, ThreadPoolExecutor, wait
from contextlib import contextmanager
from itertools import chain

import torch

from refocal.compare.data import Table
from refocal.compare.gradient import gradient_shares
from refocal.compare.measure import (
    Bootstrap,
    base_rate_log_loss,
    estimate,
    platt,
    precision_recall,
    probabilities,
)
from refocal.compare.prepare import Prepared, prepare
from refocal.compare.progress import Progress
from refocal.compare.recommend import recommend
from refocal.compare.results import LossResult, PartResult, Results
from refocal.compare.train import QUICK, Candidate, Fit, Settings, candidates, fit, network
from refocal.posterior import sigmoid_posterior


def run(table: Table, *, seed: int = 0, quick: bool = False) -> Results:
    """Compare cross-entropy, balanced cross-entropy and focal losses on a table.

    Args:
        table: the task.
        seed: of the split, the weights, the order of the rows and the resamples.
        quick: a first look with little training, in a fraction of the time.

    Returns:
        The same results for the same seed and library versions.

    Raises:
        CompareError: the table has too few examples of a class.
    """
    settings = QUICK if quick else Settings()
    data = prepare(table, seed=seed)
    base_rate = float(data.train.labels.mean())
    losses = candidates(base_rate, settings)
    fits = _train(losses, data, settings, seed)
    measured = _measure(losses, fits, data, settings, seed)
    reference = base_rate_log_loss(data.test.labels, base_rate)
    return Results(
        data=table.name,
        about=list(table.about),
        target=table.target,
        positive=table.positive,
        group_name=table.group_name,
        features=table.features.shape[1],
        inputs=data.train.features.shape[1],
        rows_without_target=table.rows_without_target,
        parts=[
            PartResult(name, len(part.labels), int(part.labels.sum()))
            for name, part in data.parts().items()
        ],
        seed=seed,
        quick=quick,
        learning_rates=list(settings.learning_rates),
        resamples=settings.resamples,
        base_rate_log_loss=reference,
        losses=measured,
        recommendation=recommend(measured, reference),
    )


def _train(losses: list[Candidate], data: Prepared, settings: Settings, seed: int) -> list[Fit]:
    """Each loss at its own best learning rate, by validation average precision."""
    start = network(data.train.features.shape[1], seed=seed)
    progress = Progress(len(losses) * len(settings.learning_rates))
    stopped = threading.Event()

    def train(candidate: Candidate, rate: float) -> Fit:
        name = f"{candidate.name}, learning rate {rate:g}"

        def report(epoch: int, score: float) -> None:
            if stopped.is_set():
                raise CancelledError
            progress.working(f"{name}, epoch {epoch}: average precision {score:.3f}")

        result = fit(candidate, rate, start, data, settings, seed=seed, report=report)
        score = result.average_precision
        progress.finished(f"{name}: validation average precision {score:.3f}")
        return result

    with _one_thread_each() as workers, ThreadPoolExecutor(workers) as pool:
        runs = [
            [pool.submit(train, candidate, rate) for rate in settings.learning_rates]
            for candidate in losses
        ]
        try:
            done, _ = wait(chain(*runs), return_when=FIRST_EXCEPTION)
            for run in done:
                run.result()  # raises what stopped the wait
        except BaseException:  # a keyboard interrupt too: let no thread train on
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            progress.close()
    return [
        max((run.result() for run in by_rate), key=lambda result: result.average_precision)
        for by_rate in runs
    ]


@contextmanager
def _one_thread_each() -> Iterator[int]:
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


def _measure(
    losses: list[Candidate], fits: list[Fit], data: Prepared, settings: Settings, seed: int
) -> list[LossResult]:
    labels = data.test.labels
    bootstrap = Bootstrap(labels, data.test.groups, resamples=settings.resamples, seed=seed)
    rankings = [bootstrap.ranking(result.test_logits) for result in fits]
    results = []
    for candidate, result, (precision, area) in zip(losses, fits, rankings, strict=True):
        logits = result.test_logits
        posterior = sigmoid_posterior(
            torch.from_numpy(logits), alpha=candidate.alpha, gamma=candidate.gamma, log_odds=True
        ).numpy()
        scaled = platt(data.valid.labels, result.valid_logits)(logits)
        results.append(
            LossResult(
                name=candidate.name,
                alpha=candidate.alpha,
                gamma=candidate.gamma,
                learning_rate=result.learning_rate,
                epochs=result.epochs,
                valid_average_precision=result.average_precision,
                average_precision=estimate(precision),
                roc_auc=estimate(area),
                average_precision_gain=estimate(precision - rankings[0][0]),
                roc_auc_gain=estimate(area - rankings[0][1]),
                raw=probabilities(labels, logits),
                posterior=probabilities(labels, posterior),
                platt=probabilities(labels, scaled),
                precision_recall=precision_recall(labels, logits),
                gradient=gradient_shares(
                    candidate, labels, reference=fits[0].test_logits, fitted=logits
                ),
            )
        )
    return results
