"""Proofs for converters and formats, of this package and of others."""
