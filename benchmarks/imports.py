"""What `import polytask.balancing` costs over `import torch`, in milliseconds of processor time.

Fresh processes in turns; the median of the differences within a pair counts.

    python benchmarks/imports.py
"""

import resource
import statistics
import subprocess
import sys


def seconds(statement: str) -> float:
    """Processor time of a fresh interpreter that runs `statement`."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", statement], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def main() -> None:
    """Print the cost of each half of the library."""
    for module in ("polytask.balancing", "polytask.sharing", "polytask.tasks"):
        seconds(f"import {module}")
        pairs = [(seconds("import torch"), seconds(f"import {module}")) for _ in range(9)]
        extra = statistics.median(ours - torch for torch, ours in pairs)
        torch = statistics.median(torch for torch, _ in pairs)
        print(f"import {module}: {1000 * extra:+.0f} ms over import torch ({1000 * torch:.0f} ms)")


if __name__ == "__main__":
    main()
