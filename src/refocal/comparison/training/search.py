"""Searches alpha, gamma and the settings with Optuna; cross-entropy searches its own settings.

Both families get the same number of trials on every split, whose validation rows decide: what
judges a split was seen by no search of it. The studies live in a file of the output folder, or in
any storage that Optuna reaches, where several machines work on them together: each runs the same
command.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from refocal import extras
from refocal.comparison.data.prepare import Prepared
from refocal.comparison.errors import CompareError, argument
from refocal.comparison.folder import STUDY
from refocal.comparison.plan import Plan
from refocal.comparison.progress import Progress
from refocal.comparison.training.losses import Link, Loss
from refocal.comparison.training.models import Fit, Model, Work
from refocal.comparison.training.schedule import side_by_side
from refocal.comparison.training.settings import Setting, central
from refocal.comparison.training.store import FitStore, key_of
from refocal.comparison.training.tuning import Entry, Training
from refocal.parameters import inverse_frequency_weights

_WIDER = 3.0  # than the grid of learning rates, on both sides
# How a focal search weighs classes, the range of it, and what it tries first, beside which gamma:
# the paper's loss (or none of classes that exclude each other), and a milder one.
_ALPHA = ("alpha", (0.05, 0.95), ((0.25, 2.0), (0.5, 1.0)))
# the exponent of inverse frequencies: 0 weighs classes alike, 1 balances them
_BALANCE = ("balance", (0.0, 1.0), ((0.0, 2.0), (0.5, 1.0)))
_PATIENCE = 600.0  # seconds without news from other machines before they count as gone
_TABLES = 2.0  # seconds in which another machine has made a database's tables
_WARM_UP = 2  # epochs before a trial may be pruned


@dataclass(frozen=True)
class Found:
    """The best trial of one family."""

    training: Training
    score: float
    trials: int


def search(
    models: Sequence[Model],
    data: Prepared,
    plan: Plan,
    store: FitStore,
    progress: Progress,
    *,
    split: int,
    folder: Path | None,
) -> dict[str, list[Found]]:
    """Find, for each model, the best of cross-entropy and the best of focal loss, in this order.

    Args:
        models: what is trained.
        data: the split.
        plan: holds the number of trials and the storage.
        store: finished trials are kept there as any training.
        progress: counts the trials.
        split: its number.
        folder: holds the study where the plan names no storage; None to keep it in memory.

    Raises:
        CompareError: the storage cannot be reached.
        ImportError: Optuna is not installed.
    """
    optuna = _optuna()
    storage = open_storage(optuna, plan.storage, folder)
    data.encode()
    families = [(model, family) for model in models for family in ("cross-entropy", "focal")]

    def one(job: tuple[Model, str]) -> Found:
        return _Search(optuna, storage, *job, data, plan, store, progress, split).run()

    found = side_by_side(one, families, progress)
    return {
        model.name: [one for one, job in zip(found, families, strict=True) if job[0] is model]
        for model in models
    }


class _Search:
    """One study: one family of losses of one model."""

    def __init__(
        self,
        optuna: Any,
        storage: Any,
        model: Model,
        family: str,
        data: Prepared,
        plan: Plan,
        store: FitStore,
        progress: Progress,
        split: int,
    ) -> None:
        self.split = split
        self.axes = plan.axes_for(model) if not plan.quick else dict(model.axes)
        self.effort = replace(plan.effort, scored=True)
        self.optuna, self.model, self.focal = optuna, model, family == "focal"
        self.data, self.plan, self.store, self.progress = data, plan, store, progress
        self.name = f"{model.name}, {family}"
        self.weighting, self.range, self.first = _BALANCE if data.kind == "multiclass" else _ALPHA
        identity = key_of(
            table=data.table.fingerprint(),
            split=data.split.fingerprint(),
            model=model.identity(data, plan.seed_of(split, 0)),
            epochs=plan.effort.epochs,
            seed=plan.seed_of(split, 0),
        )
        self.own = plan.storage is None
        self.study = optuna.create_study(
            storage=storage,
            study_name=f"refocal {self.name} {identity[:12]}",
            direction="maximize",
            load_if_exists=True,
            pruner=optuna.pruners.MedianPruner(n_startup_trials=4, n_warmup_steps=_WARM_UP),
        )

    def run(self) -> Found:
        """Make trials until there are enough, whoever made them."""
        if self.own:
            self._drop_stale()
        while len(self._counted()) < self.plan.trials:
            self._trial(len(self._finished()))
        counted = self._settled()
        complete = [trial for trial in counted if trial.value is not None]
        if not complete:
            raise CompareError(f"no trial of {self.name} was finished.")
        best = max(complete, key=lambda trial: (trial.value, -trial.number))
        return Found(self._training(best.params), best.value, len(counted))

    def _finished(self) -> list[Any]:
        states = self.optuna.trial.TrialState
        found: list[Any] = self.study.get_trials(
            deepcopy=False, states=(states.COMPLETE, states.PRUNED)
        )
        return found

    def _counted(self) -> list[Any]:
        """Return the trials that decide: the first ones asked for, finished or at work anywhere.

        Two machines may ask for the last one at the same time; the later one is then left out, so
        that both find the same.
        """
        states = self.optuna.trial.TrialState
        found: list[Any] = self.study.get_trials(
            deepcopy=False, states=(states.COMPLETE, states.PRUNED, states.RUNNING)
        )
        return found[: self.plan.trials]

    def _settled(self) -> list[Any]:
        """Return the trials that decide, once other machines have finished theirs."""
        running = self.optuna.trial.TrialState.RUNNING
        since, before = time.monotonic(), -1
        while True:
            counted = self._counted()
            open_ = [trial for trial in counted if trial.state == running]
            steps = sum(len(trial.intermediate_values) for trial in open_) - len(open_)
            if steps != before:
                since, before = time.monotonic(), steps
            if not open_ or time.monotonic() - since > _PATIENCE:
                return [trial for trial in counted if trial.state != running]
            self.progress.check()
            self.progress.working(f"{self.name}: waiting for {len(open_)} trials elsewhere")
            time.sleep(0.5)

    def _drop_stale(self) -> None:
        """Drop trials that a killed run left open: nobody else works on a study of ours."""
        states = self.optuna.trial.TrialState
        for trial in self.study.get_trials(states=(states.RUNNING, states.WAITING)):
            self.study._storage.set_trial_state_values(trial._trial_id, state=states.FAIL)

    def _trial(self, done: int) -> None:
        # What is sampled depends on the finished trials and their number alone, so that a study
        # that was stopped goes on as if it had not been.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some of the sampler's options are experimental
            self.study.sampler = self.optuna.samplers.TPESampler(
                seed=(self.plan.seed_of(self.split, 0) + 7919 * done) % 2**32, multivariate=True
            )
        if done < (len(self.first) if self.focal else 1):
            params = dict(self._middle().values)
            if self.focal:
                params |= zip((self.weighting, "gamma"), self.first[done], strict=True)
            self.study.enqueue_trial(params)
        trial = self.study.ask(self._space())
        training = self._training(trial.params)
        # a fit that has no score of every epoch is another one: pruning is decided by them
        key = f"searched-{training.key(self.data, self.plan)}"
        fit = self.store.get(key)
        try:
            if fit is None:
                fit = self._train(training, trial)
                self.store.put(key, fit)
            else:
                self._replay(fit, trial)
        except self.optuna.TrialPruned:
            self.study.tell(trial, state=self.optuna.trial.TrialState.PRUNED)
            self.progress.finished(f"{training.name(self.axes)}: pruned")
            return
        self.study.tell(trial, fit.score)
        self.progress.finished(
            f"{training.name(self.axes)}: validation average precision {fit.score:.3f}"
        )

    def _space(self) -> dict[str, Any]:
        kinds = self.optuna.distributions
        space = {
            name: kinds.FloatDistribution(
                max(axis.values[0] / _WIDER, axis.lowest),
                min(axis.values[-1] * _WIDER, axis.highest),
                log=True,
            )
            for name, axis in self.axes.items()
            if axis.factor is not None
        }
        if self.focal:
            space[self.weighting] = kinds.FloatDistribution(*self.range)
            space["gamma"] = kinds.FloatDistribution(0.25, 5.0)
        return space

    def _middle(self) -> Setting:
        """Return what a search begins with: the middle of what it looks for, and of what it does
        not.
        """
        point = central(self.axes)
        return Setting(tuple((n, v) for n, v in point.values if self.axes[n].factor is not None))

    def _training(self, params: dict[str, float]) -> Training:
        point = central(self.plan.axes_for(self.model))
        for name, _ in point.values:
            if name in params:
                point = point.with_value(name, params[name])
        return Training(Entry(self.model, self._loss(params)), point, self.split)

    def _loss(self, params: dict[str, float]) -> Loss:
        link: Link = "softmax" if self.weighting == "balance" else "sigmoid"
        if not self.focal:
            return Loss("cross-entropy", None, 0.0, link)
        weight, gamma = params[self.weighting], params["gamma"]
        if link == "sigmoid":
            return Loss(f"focal, searched: α {weight:.3g}, γ {gamma:.3g}", weight, gamma)
        name = f"focal, searched: α ∝ rate^−{weight:.3g}, γ {gamma:.3g}"
        rates = [rate**weight for rate in self.data.base_rates]
        return Loss(name, tuple(inverse_frequency_weights(rates)), gamma, link)

    def _train(self, training: Training, trial: Any) -> Fit:
        name = training.name(self.axes)

        def watch(step: int, score: float | None) -> None:
            self.progress.check()
            if score is None:
                return
            self.progress.working(f"{name}, step {step}: average precision {score:.3f}")
            trial.report(score, step)
            if trial.should_prune():
                raise self.optuna.TrialPruned

        seed = training.seed(self.plan)
        return self.model.fit(
            Work(training.entry.loss, training.setting, self.data, self.effort, seed, watch)
        )

    def _replay(self, fit: Fit, trial: Any) -> None:
        """Report what a finished training reported, for the pruning of later trials."""
        steps = range(1, len(fit.curve) + 1) if self.model.network else [fit.steps]
        for step, score in zip(steps, fit.curve, strict=True):
            trial.report(score, step)
            if trial.should_prune():
                raise self.optuna.TrialPruned


def _optuna() -> Any:
    optuna = extras.imported("trials", "optuna")
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna


def open_storage(optuna: Any, url: str | None, folder: Path | None) -> Any:
    """Return Optuna's storage at a URL, in a file of the folder, or in memory.

    Raises:
        CompareError: it cannot be reached.
    """
    if url is None:
        if folder is None:
            return optuna.storages.InMemoryStorage()
        journal = optuna.storages.journal
        (folder / f"{STUDY}.lock").unlink(missing_ok=True)  # of a killed run
        return optuna.storages.JournalStorage(journal.JournalFileBackend(str(folder / STUDY)))
    try:
        if url.startswith("journal:"):
            journal = optuna.storages.journal
            return optuna.storages.JournalStorage(
                journal.JournalFileBackend(url[len("journal:") :])
            )
        if url.startswith("grpc://"):
            host, _, port = url[len("grpc://") :].partition(":")
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # experimental, and worth it
                return optuna.storages.GrpcStorageProxy(host=host, port=int(port or 13000))
        try:
            return optuna.storages.RDBStorage(url)
        except Exception:
            # of two machines that make the tables at once, the later one fails, and finds them then
            time.sleep(_TABLES)
            return optuna.storages.RDBStorage(url)
    except Exception as error:  # each database driver has errors of its own
        reason = " ".join(str(error).split())[:200]
        raise CompareError(f"{argument('storage', url)} cannot be used: {reason}") from error
