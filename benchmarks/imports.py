"""What `import polytask.balancing` costs over `import torch`, in milliseconds of processor time.

Each figure is the median over fresh processes that import torch first and then time the rest, once
with the byte code that Python keeps after a first import and once without it (a checkout that may
not be written to, or PYTHONDONTWRITEBYTECODE set).

    python benchmarks/imports.py
"""

import os
import statistics
import subprocess
import sys
import tempfile

REPEATS = 9
PROGRAM = """
import time
import torch
start = time.process_time()
import {module}
print(1000 * (time.process_time() - start))
"""


def milliseconds(module: str, environment: dict[str, str]) -> float:
    """Processor time that importing `module` takes once torch is there."""
    command = [sys.executable, "-c", PROGRAM.format(module=module)]
    done = subprocess.run(command, check=True, env=environment, capture_output=True, text=True)
    return float(done.stdout)


def main() -> None:
    """Print the cost of the halves of the library."""
    with tempfile.TemporaryDirectory() as folder:
        kept = {**os.environ, "PYTHONPYCACHEPREFIX": folder}
        kept.pop("PYTHONDONTWRITEBYTECODE", None)
        never = {
            **os.environ,
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONPYCACHEPREFIX": folder + "/no",
        }
        for module in ("polytask.balancing", "polytask.sharing", "polytask.tasks"):
            milliseconds(module, kept)  # compiles
            later = statistics.median(milliseconds(module, kept) for _ in range(REPEATS))
            first = statistics.median(milliseconds(module, never) for _ in range(3))
            print(f"{module}: {later:.0f} ms over torch, {first:.0f} without byte code")


if __name__ == "__main__":
    main()
