"""The memory that this process takes, and that is free."""

import os
from pathlib import Path

try:
    import resource
except ImportError:  # no Unix
    resource = None


def free() -> int | None:
    """Return the bytes of memory that are free, or None where the system does not tell.

    Limits of the process and of its container count. Not by psutil: where that is installed,
    joblib stops processes that import TensorFlow, because they have grown.
    """
    found = [_of_system(), _of_container(), _of_process()]
    return min((n for n in found if n is not None), default=None)


def used() -> tuple[int, int] | None:
    """Return the bytes of memory that this process takes, and took at most; None if not known."""
    lines = _lines("/proc/self/status")
    try:
        return 1024 * int(lines["VmRSS"].split()[0]), 1024 * int(lines["VmHWM"].split()[0])
    except (KeyError, ValueError):  # no Linux
        return None


def _lines(path: str) -> dict[str, str]:
    try:
        return dict(line.split(":", 1) for line in Path(path).read_text().splitlines())
    except (OSError, ValueError):
        return {}


def _of_system() -> int | None:
    try:
        return 1024 * int(_lines("/proc/meminfo")["MemAvailable"].split()[0])
    except (KeyError, ValueError):  # no Linux
        pass
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _of_container() -> int | None:
    group = Path("/sys/fs/cgroup")
    try:
        most, now = (int((group / f"memory.{n}").read_text()) for n in ("max", "current"))
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return most - now + int(counts["inactive_file"])  # files read before give way
    except (OSError, KeyError, ValueError):  # none, or without a limit
        return None


def _of_process() -> int | None:
    if resource is None:
        return None
    most, _ = resource.getrlimit(resource.RLIMIT_AS)
    try:
        now = 1024 * int(_lines("/proc/self/status")["VmSize"].split()[0])
    except (KeyError, ValueError):
        return None
    return None if most == resource.RLIM_INFINITY else max(0, most - now)
