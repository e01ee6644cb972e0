"""Long campaigns over everything that can be tried; docs/trust.md shows what they printed."""
