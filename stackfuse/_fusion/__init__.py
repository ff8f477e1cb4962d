"""Fusion strategies, and ``fuse``: trained models joined into one."""
