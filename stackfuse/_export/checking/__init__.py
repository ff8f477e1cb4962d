"""Check that a graph agrees with its estimator: probes, parity and runtimes."""
