"""Examples: each runs from the root of the repository and prints what stands in docs/examples."""
