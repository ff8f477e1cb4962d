"""Arithmetic that several families of converters share."""
