"""Speed, memory and accuracy of refocal beside its peers: `python -m benchmarks`."""
