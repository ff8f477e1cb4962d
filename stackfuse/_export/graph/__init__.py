"""A fitted estimator as a symbolic graph."""
