"""KerasClassifier and KerasRegressor."""
