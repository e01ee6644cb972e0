"""Progress on standard error: one line that moves on a terminal, plain lines in a pipe."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from concurrent.futures import CancelledError
from typing import TextIO

_WIDTH = 20


class Progress:
    """Counts the steps of a run and says how much time is left; threads may share it.

    Args:
        total: number of steps.
        stream: where to write; standard error by default.
        quiet: write nothing.
    """

    def __init__(self, total: int, stream: TextIO | None = None, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._total = total
        self._done = 0
        self._trained = 0
        self._stream = sys.stderr if stream is None else stream
        self._moves = self._stream.isatty()
        self._started = time.monotonic()
        self._length = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Let every training that asks come to an end."""
        self._stopped.set()

    def expect(self, more: int) -> None:
        """Count on so many steps more than was said at first."""
        with self._lock:
            self._total += more

    def check(self) -> None:
        """Raise CancelledError where `stop` was called."""
        if self._stopped.is_set():
            raise CancelledError

    def note(self, text: str) -> None:
        """Say something once."""
        with self._lock:
            print(text, file=self._stream, flush=True)

    def working(self, what: str) -> None:
        """Show what a running step does; a pipe is spared these lines."""
        with self._lock:
            if not self._quiet:
                self._show(what)

    def finished(self, what: str, *, trained: bool = True) -> None:
        """Count one step as done; one that took no time does not enter the estimate."""
        with self._lock:
            self._done += 1
            self._trained += trained
            if self._quiet:
                return
            if self._moves:
                self._show(what)
            else:
                line = f"{self._done}/{self._total}{self._left()}  {what}"
                print(line, file=self._stream, flush=True)

    def close(self) -> None:
        """Wipe the moving line."""
        if self._moves:
            self._line("")
            self._stream.write("\r")
            self._stream.flush()

    def _show(self, what: str) -> None:
        if self._moves:
            filled = _WIDTH * self._done // self._total
            bar = "█" * filled + "░" * (_WIDTH - filled)
            self._line(f"{bar} {self._done}/{self._total}{self._left()}  {what}")

    def _left(self) -> str:
        if self._trained == 0:
            return ""
        seconds = (time.monotonic() - self._started) / self._trained * (self._total - self._done)
        return f", {duration(seconds)} left"

    def _line(self, text: str) -> None:
        text = text[: shutil.get_terminal_size().columns - 1]  # a line that wraps cannot move
        self._stream.write("\r" + text.ljust(self._length))
        self._stream.flush()
        self._length = len(text)


def duration(seconds: float) -> str:
    """Return a time span as people say it."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
