"""One file per booster: its classifier, and what is particular to it."""
