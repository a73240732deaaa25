"""Commands that are killed in the middle, and what can be read afterwards."""

import csv
import json
from dataclasses import dataclass

import joblib
import pyarrow.parquet as pq

from deployment import Deployment, Finished, visible_files


def whole_csv(path):
    """Rows of a CSV file, after making sure that none is cut."""
    rows = list(csv.reader(path.read_text().splitlines()))
    assert len({len(row) for row in rows}) == 1, f"{path} has lines of different lengths"
    return rows


READERS = {
    ".parquet": pq.read_table,
    ".json": lambda path: json.loads(path.read_text()),
    ".jsonl": lambda path: [json.loads(line) for line in path.read_text().splitlines()],
    ".csv": whole_csv,
    ".joblib": joblib.load,
}


@dataclass(frozen=True)
class Pieces:
    """A first run that was killed while it read, killed while it validated, and then left alone.

    Attributes:
        deployment: Where.
        while_reading: How many whole days `raw_events` had when it was killed for the first time.
        status: What `churn status` said then.
        validated: How many days `validated_events` had when it was killed for the second time.
        last: How the run that was left alone ended.
    """

    deployment: Deployment
    while_reading: int
    status: Finished
    validated: int
    last: Finished


def seed_in_pieces(deployment):
    """Kill `churn seed` twice, then let it finish."""
    layout = deployment.layout
    deployment.start("seed").kill_when(lambda: len(layout.raw_events.days()) >= 3)
    assert_all_readable(deployment)
    while_reading, status = len(layout.raw_events.days()), deployment.run("status")
    deployment.start("seed").kill_after("✓ validated_users")
    assert_all_readable(deployment)
    validated = len(layout.events.days())
    return Pieces(deployment, while_reading, status, validated, deployment.run("seed"))


def assert_all_readable(deployment):
    """Open every visible file of the deployment: none is half written."""
    for folder in (deployment.layout.data, deployment.layout.artifacts):
        for path in visible_files(folder):
            READERS.get(path.suffix, lambda path: path.read_bytes())(path)
