"""The loops that Numba compiles. Importing any of these needs Numba."""
