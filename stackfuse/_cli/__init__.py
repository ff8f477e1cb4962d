"""The command ``stackfuse``."""
