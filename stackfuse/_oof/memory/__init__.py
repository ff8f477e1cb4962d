"""Fits that are kept on disk."""
