"""Compiled training and prediction of a network."""
