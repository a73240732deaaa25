"""All benchmarks, one after the other: `make bench`, or `python -m benchmarks [NAME …] [--quick]`."""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

NAMES = ("first_run", "features", "serving", "swap", "oulad", "oulad_drift", "year")
HAS_QUICK = ("features", "serving", "swap", "year")


def main() -> int:
    """Run the chosen benchmarks; 1 if any of them fails or breaks a limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"which: {', '.join(NAMES)}; all if none is given")
    parser.add_argument("--quick", action="store_true", help="smaller sizes, where a benchmark has them")
    options = parser.parse_args()
    if unknown := sorted(set(options.names) - set(NAMES)):
        parser.error(f"no benchmark is called {', '.join(unknown)}; there are {', '.join(NAMES)}")
    broken = [name for name in options.names or NAMES if _run(name, quick=options.quick)]
    print(f"\nlimits broken or failed: {', '.join(broken)}" if broken else "\nall limits hold")
    return 1 if broken else 0


def _run(name: str, *, quick: bool) -> bool:
    print(f"\n== {name}", flush=True)
    script = Path(__file__).parent / f"{name}.py"
    arguments = ["--quick"] if quick and name in HAS_QUICK else []
    return subprocess.run([sys.executable, str(script), *arguments], check=False).returncode != 0


if __name__ == "__main__":
    sys.exit(main())
