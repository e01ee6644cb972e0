"""NVIDIA GPUs, through Triton. All but `backend` need Triton to be imported."""
