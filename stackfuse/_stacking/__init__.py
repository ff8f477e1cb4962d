"""StackingClassifier and StackingRegressor."""
