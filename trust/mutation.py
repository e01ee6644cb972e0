"""Mutation testing: ``make mutation`` changes one operation at a time and runs the tests.

cosmic-ray writes each mutant into the work tree, runs ``python -m trust.mutation tests`` and takes
it back. ``python -m trust.mutation table`` prints what came of it, from the session's file.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

SESSION = Path("build/mutation.sqlite")
TABLE = Path("docs/tables/mutation.md")
REASONS = Path(__file__).with_name("survivors.json")

# what is likeliest to notice comes first; the rest follows, so that a survivor has passed it all
FIRST = {
    "formula.py": ["tests/test_formula.py"],
    "links.py": ["tests/test_losses.py"],
    "reduction.py": ["tests/test_reduction.py"],
    "posterior.py": ["tests/test_posterior.py"],
}
# by plain torch, whose text the mutants are in: compiling kernels would take the longest
REST = ["tests/test_formula.py", "tests/test_losses.py", "tests/test_reduction.py"]
REST += ["tests/test_posterior.py", "tests/test_properties.py", "tests/test_accuracy.py"]


def tests() -> int:
    """Runs the tests in an order that suits the file that differs from the commit."""
    command = ["git", "diff", "--name-only", "--", "src"]
    changed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    first = [test for path in changed for test in FIRST.get(Path(path).name, [])]
    files = list(dict.fromkeys(first + REST))
    options = ["-x", "-q", "-n", "0", "-p", "no:cacheprovider", "-k", "not cpu and not operator"]
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files], check=False
    ).returncode


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
        changed = [line.strip() for line in self.diff.splitlines()[2:] if line[:1] in "+-"]
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
    if sys.argv[1:] == ["tests"]:
        return tests()
    if sys.argv[1:] == ["table"]:
        reasons = json.loads(REASONS.read_text()) if REASONS.exists() else {}
        TABLE.parent.mkdir(parents=True, exist_ok=True)
        TABLE.write_text(table(read(SESSION), reasons))
        return 0
    print("usage: python -m trust.mutation tests|table", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
