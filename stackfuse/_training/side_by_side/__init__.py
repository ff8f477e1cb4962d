"""Replicas of a network that are trained at the same time, in compiled graphs."""
