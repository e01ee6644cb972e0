"""Mutation testing: ``make mutation`` changes one operation at a time and runs the tests.

cosmic-ray lists the mutants and writes them; ``python -m trust.mutation run`` tests each in a
process forked from one that has torch already (importing it takes longer than most mutants live),
where the mutant takes the module's place as it is imported: no file of the work tree is touched.
``python -m trust.mutation table`` writes what came of it, from the session's file.
"""

from __future__ import annotations

import difflib
import json
import os
import signal
import sqlite3
import sys
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from typing import Any, NamedTuple

SESSION = Path("build/mutation.sqlite")
TABLE = Path("docs/tables/mutation.md")
REASONS = Path(__file__).with_name("survivors.json")
SECONDS = 240  # a mutant that loops is a mutant killed
SIDE_BY_SIDE = 2

# what is likeliest to notice comes first; the rest follows, so that a survivor has passed it all
FIRST = {
    "focal.py": "tests/test_formula.py",
    "margin.py": "tests/test_losses.py",
    "hessian.py": "tests/test_formula.py",
    "links.py": "tests/test_losses.py",
    "reduction.py": "tests/test_reduction.py",
    "posterior.py": "tests/test_posterior.py",
}
REST = [*FIRST.values(), "tests/test_errors.py"]
REST += ["tests/test_properties.py", "tests/test_accuracy.py"]


class Mutated(SourceFileLoader):
    """Reads one module from a text instead of its file, past the cache of compiled files."""

    def __init__(self, spec: ModuleSpec, text: str) -> None:
        assert spec.origin is not None
        super().__init__(spec.name, spec.origin)
        self.text = text

    def get_data(self, path: str) -> bytes:
        """The text, whatever the path."""
        return self.text.encode()

    def path_stats(self, path: str) -> Any:
        """Without a time of change there is nothing to look up among compiled files."""
        raise OSError(path)


class Finder:
    """Finds one module as a mutant, and leaves the others to the finders behind it."""

    def __init__(self, module: str, text: str) -> None:
        self.module, self.text = module, text

    def find_spec(self, name: str, path: Any, target: Any = None) -> ModuleSpec | None:
        """As Python's import asks for it."""
        spec = PathFinder.find_spec(name, path, target) if name == self.module else None
        if spec is not None:
            spec.loader = Mutated(spec, self.text)
        return spec


def tests(path: Path, text: str) -> int:
    """The exit status of pytest with the text in place of the module, for a process of its own."""
    import pytest

    # by plain torch, whose text the mutants are in: compiling kernels would take the longest
    sys.modules["numba"] = None  # type: ignore[assignment]
    name = ".".join(path.with_suffix("").parts[1:])
    sys.meta_path.insert(0, Finder(name, text))  # type: ignore[arg-type]
    files = dict.fromkeys([FIRST[path.name], *REST])
    return int(pytest.main(["-x", "-q", "-n", "0", "-p", "no:cacheprovider", *files]))


def forked(path: Path, text: str) -> int:
    """Starts the tests; returns the number of their process."""
    process = os.fork()
    if process:
        return process
    signal.alarm(SECONDS)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    status = 70
    try:
        status = tests(path, text)
    finally:
        os._exit(status)


def run() -> None:
    """Tests every mutant of the session that has no result yet."""
    # imported before the forks; not hypothesis, whose asserts pytest wants to rewrite
    import mpmath  # noqa: F401
    import pytest  # noqa: F401
    import scipy.optimize  # noqa: F401
    import torch  # noqa: F401
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator
    from cosmic_ray.work_db import WorkDB, use_db
    from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult

    untouched = Path("src/refocal/formula/focal.py")
    _, status = os.waitpid(forked(untouched, untouched.read_text()), 0)
    if status:
        raise SystemExit("the tests fail without any mutant: python -m pytest " + " ".join(REST))
    with use_db(str(SESSION), WorkDB.Mode.open) as session:
        running: dict[int, tuple[str, str]] = {}

        def finish() -> None:
            process, status = os.wait()
            job, diff = running.pop(process)
            survived = os.waitstatus_to_exitcode(status) == 0
            outcome = TestOutcome.SURVIVED if survived else TestOutcome.KILLED
            session.set_result(job, WorkResult(WorkerOutcome.NORMAL, "", outcome, diff))

        pending = list(session.pending_work_items)
        for number, item in enumerate(pending, 1):
            print(f"\r{number} of {len(pending)}", end="", file=sys.stderr, flush=True)
            (mutation,) = item.mutations
            text = mutation.module_path.read_text()
            operator = get_operator(mutation.operator_name)(**mutation.operator_args)
            mutant = mutate_code(text, operator, mutation.occurrence)
            while len(running) >= SIDE_BY_SIDE:
                finish()
            process = forked(mutation.module_path, mutant)
            running[process] = (item.job_id, changes(text, mutant))
        while running:
            finish()
        print(file=sys.stderr)


def changes(before: str, after: str) -> str:
    """What became of a text: its lines as they were and as they are."""
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), n=0, lineterm="")
    return "\n".join(list(lines)[3:])


class Mutant(NamedTuple):
    """One of a session, where it was and what the tests said."""

    module: str
    line: int
    operator: str
    diff: str
    killed: bool

    @property
    def key(self) -> str:
        """What was changed into what, whatever the line's number."""
        changed = [line.strip() for line in self.diff.splitlines()]
        return f"{self.module}: " + " ".join(changed)


def read(session: Path) -> list[Mutant]:
    """The mutants that tests have run on."""
    query = """
        select module_path, start_pos_row, operator_name, diff, test_outcome
        from mutation_specs join work_results using (job_id)
        where worker_outcome = 'NORMAL' order by module_path, start_pos_row, operator_name
    """
    with sqlite3.connect(session) as connection:
        return [
            Mutant(
                Path(module).name,
                line,
                operator.removeprefix("core/"),
                diff or "",
                how != "SURVIVED",
            )
            for module, line, operator, diff, how in connection.execute(query)
        ]


def table(mutants: list[Mutant], reasons: dict[str, str]) -> str:
    """Counts per module, and every survivor with the reason why no test can or need notice."""
    rows = ["| module | mutants | killed | |", "|---|---|---|---|"]
    for module in sorted({mutant.module for mutant in mutants}):
        own = [mutant for mutant in mutants if mutant.module == module]
        killed = sum(mutant.killed for mutant in own)
        rows.append(f"| `{module}` | {len(own)} | {killed} | {killed / len(own):.1%} |")
    killed = sum(mutant.killed for mutant in mutants)
    rows.append(f"| all | {len(mutants)} | {killed} | {killed / len(mutants):.1%} |")
    rows += ["", "| survivor | why |", "|---|---|"]
    for mutant in mutants:
        if not mutant.killed:
            why = reasons.get(mutant.key, "")
            rows.append(f"| `{mutant.key.replace('|', chr(92) + '|')}` | {why} |")
    return "\n".join(rows) + "\n"


def main() -> int:
    """The command."""
    if sys.argv[1:] == ["run"]:
        run()
        return 0
    if sys.argv[1:] == ["table"]:
        reasons = json.loads(REASONS.read_text()) if REASONS.exists() else {}
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        TABLE.write_text(table(read(SESSION), reasons))
        return 0
    print("usage: python -m trust.mutation run|table", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
