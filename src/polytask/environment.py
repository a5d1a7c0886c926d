"""What computed a run: versions and the machine."""

import json
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

import polytask


def environment(
    precision: str, threads: int, device: str, command: Sequence[str]
) -> dict[str, Any]:
    """Versions and machine, for whoever wants to repeat a run."""
    import numpy

    return {
        "polytask": polytask.__version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": numpy.__version__,
        "platform": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "device": device,
        "precision": precision,
        "threads": threads,
        "command": list(command),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }


def processor() -> str:
    """The processor's name where the system tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or sys.platform


def other_version(run: Path, known: Mapping[str, Any] | None = None) -> str | None:
    """What to say of a run that another version of Polytask made, if it was one.

    Args:
        run: Its folder.
        known: Its `environment.json`, which is read if it isn't given. Where it can't be, nothing
            is known of the version, and what can't be read is told by whoever needs it.
    """
    if known is None:
        try:
            known = json.loads((run / "environment.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
    made = known.get("polytask") if isinstance(known, Mapping) else None
    if made is None or made == polytask.__version__:
        return None
    return f"'{run}' was made by Polytask {made}, and this is {polytask.__version__}"
