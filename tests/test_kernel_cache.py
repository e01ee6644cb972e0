"""Kernels that several processes have compiled into one cache stay the kernels they are."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba")

# Gradients of both backends for "0" (attached) and "1" (detached modulator), in the order given.
SCRIPT = """
import sys, torch
from torch.testing import assert_close
from refocal import softmax_focal_loss
z = torch.randn(5, 14, generator=torch.Generator().manual_seed(0)).requires_grad_()
y = torch.arange(5)
for detached in sys.argv[1]:
    found = [
        torch.autograd.grad(
            softmax_focal_loss(z, y, detach_modulator=detached == "1", impl=impl), z
        )[0]
        for impl in ("cpu", "eager")
    ]
    assert_close(*found)
"""


def test_kernels_of_two_processes_do_not_share_their_parts(tmp_path):
    """Each process numbers what it compiles from 1, and the linker keeps the first of a name."""
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    for order in ("0", "1", "01", "10"):
        subprocess.run([sys.executable, "-c", SCRIPT, order], env=environment, check=True)
