"""The book: all scalar mathematics of the library, written once."""

from refocal.formula.focal import *  # noqa: F403
