"""The loops that become machine code, and how. Importing any of these needs Numba."""
