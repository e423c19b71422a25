"""What the figures were taken on; without it they mean nothing."""

import os
import platform
import sys
from pathlib import Path


def describe(python_version: str, redis_version: str) -> dict[str, str]:
    """Return the machine and what all contestants share on it."""
    return {
        "CPU": _cpu_model(),
        "cores": str(_usable_cores()),
        "system": f"{platform.system()} {platform.release()}",
        "Python": python_version,
        "Redis": redis_version,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def _usable_cores() -> int:
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
