"""A steady load: `python examples/http/load.py u000001 [--rate 200] [--seconds 10] [--url URL] [--record FILE]`.

Requests start on a schedule, whether or not earlier ones were answered, and latency counts from the scheduled moment:
so a server that falls behind is not spared the requests that it made wait.
"""

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import httpx

MOST = 10_000
"""Requests in all: this is no tool to break anything with."""


async def run(options: argparse.Namespace) -> dict[str, object]:
    """Send the requests and print what came of them; return what goes on record."""
    headers = {"Authorization": f"Bearer {options.key}"} if options.key else {}
    count = min(MOST, round(options.rate * options.seconds))
    async with httpx.AsyncClient(base_url=options.url, headers=headers, timeout=10) as client:
        begin = time.perf_counter()
        jobs = [_ask(client, options.user, begin + number / options.rate) for number in range(count)]
        found = await asyncio.gather(*jobs)
        seconds = time.perf_counter() - begin
    statuses = Counter(status for status, _ in found)
    times = sorted(milliseconds for _, milliseconds in found)
    print(f"{count} requests, by status: {dict(statuses)}")
    print(f"median {statistics.median(times):.1f} ms, 99 % under {times[int(0.99 * (count - 1))]:.1f} ms")
    rate = count / max(seconds, count / options.rate)
    return {"at": datetime.now(UTC).isoformat(), "requests_per_second": rate, "failed": count - statuses[200]}


async def _ask(client: httpx.AsyncClient, user: str, due: float) -> tuple[int | str, float]:
    await asyncio.sleep(due - time.perf_counter())
    try:
        status: int | str = (await client.post("/predict", json={"user_id": user})).status_code
    except httpx.TransportError as error:
        status = type(error).__name__
    return status, 1000 * (time.perf_counter() - due)


def main() -> int:
    """Read the command line, send, and note the figure; 1 if any request failed."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("user", metavar="USER_ID")
    parser.add_argument("--rate", type=float, default=200, help="requests a second")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--key", help="API key, if the service asks for one")
    parser.add_argument("--record", metavar="FILE", help="note the figure here, for `churn doctor`")
    options = parser.parse_args()
    record = asyncio.run(run(options))
    if options.record:
        Path(options.record).write_text(json.dumps(record) + "\n", encoding="utf-8")
    return int(record["failed"] != 0)


if __name__ == "__main__":
    sys.exit(main())
