"""The CPU: what lies beside the compiled loops, and needs no Numba to be imported."""

import time

# seconds: a source that was written later is not the one that this process has loaded
LOADED = time.time()
