"""A minute of steady load while the model is swapped every three seconds: nothing lost, nothing mixed up.

It is the test `tests/serving/test_swap_under_load.py` at full length, with two workers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from measure import Cost, Line, report

SECONDS, EVERY, RATE = 60.0, 3.0, 200


def main() -> int:
    """Print what came of the requests; 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a quarter of the time")
    seconds = SECONDS / 4 if parser.parse_args().quick else SECONDS
    tests = Path(__file__).parents[1] / "tests"
    sys.path[:0] = [str(tests / "serving"), str(tests)]
    from http_world import GONE, PEOPLE, World
    from swap_load import TAKE_UP, swap_under_load

    with tempfile.TemporaryDirectory(prefix="churn_swap_") as folder:
        world = World(Path(folder))
        world.serve_new(1)
        world.publish(PEOPLE, left=[GONE])
        with world.server(workers=2) as server:
            outcome = swap_under_load(world, server, seconds=seconds, every=EVERY, rate=RATE, clients=4)
    lines = [
        Line("requests that failed", len(outcome.failed), "", 0),
        Line("answers that are not of the version they name", len(outcome.mismatched), "", 0),
        Line("foreign files that were unpickled", int(outcome.is_unpickled), "", 0),
        Line("slowest take-up of a sound change by both workers", max(outcome.take_ups), "s", TAKE_UP),
        Line("sound changes", len(outcome.take_ups), ""),
    ]
    cost = Cost("requests under swaps", 0.0, seconds, 0.0, outcome.requests)
    return 0 if report("swap", [cost], lines) else 1


if __name__ == "__main__":
    sys.exit(main())
