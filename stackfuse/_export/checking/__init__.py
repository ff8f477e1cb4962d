"""Probes, parity and runtimes: whether a graph agrees with its estimator."""
