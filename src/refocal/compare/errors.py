"""The one exception of this package that a user is meant to read."""

from __future__ import annotations


class CompareError(Exception):
    """What was asked for cannot be done; the text says why and what to do instead.

    The command line prints it as one line and exits with status 2.
    """
