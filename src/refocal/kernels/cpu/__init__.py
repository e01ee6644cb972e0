"""The CPU: what lies beside the compiled loops, and needs no Numba to be imported."""
