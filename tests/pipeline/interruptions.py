"""Commands that are killed in the middle, and what can be read afterwards."""

import csv
import json
import signal
from dataclasses import dataclass

import joblib
import pyarrow.parquet as pq
from deployed import Deployment, Finished, visible_files


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
    while_reading, status = len(layout.raw_events.days()), deployment.run("status", "--json")
    deployment.start("seed").kill_after("✓ validated_users")
    assert_all_readable(deployment)
    validated = len(layout.events.days())
    return Pieces(deployment, while_reading, status, validated, deployment.run("seed", lacking=["evidently"]))


@dataclass(frozen=True)
class Retrains:
    """A retrain that was killed while it judged, a promotion that was killed at its last step, and two at once.

    Attributes:
        deployment: Where.
        champion: What served before all this.
        after_judging: What served after the first.
        after_promoting: What served after the second.
        listed: What `churn models list` said then.
        both: How the two ended.
    """

    deployment: Deployment
    champion: str
    after_judging: str
    after_promoting: str
    listed: Finished
    both: tuple[Finished, ...]


def retrain_in_pieces(deployment):
    """Kill a retrain in `production_model`, kill a promotion before the alias changes, then run two at once."""
    champion = sound_production(deployment)
    deployment.start("retrain", **other_trees(21)).kill_after("✓ candidate_model")
    assert_all_readable(deployment)
    after_judging = sound_production(deployment)
    deployment.start("build", "promote", dying_at="production_latest.joblib").finish().expect(-signal.SIGKILL)
    assert_all_readable(deployment)
    after_promoting, listed = sound_production(deployment), deployment.run("models", "list", "--json")
    both = [deployment.start("retrain", **other_trees(trees)) for trees in (23, 24)]
    finished = tuple(child.finish() for child in both)
    return Retrains(deployment, champion, after_judging, after_promoting, listed, finished)


def other_trees(number):
    """Settings that make a retrain give another model than before."""
    return {"CHURN_TRAINING__MODEL__ITERATIONS": str(number), "CHURN_TRAINING__MODEL__LEARNING_RATE": f"0.{number}"}


def sound_production(deployment):
    """The version that serves, after making sure that everything about it and the history is in order."""
    registry = deployment.registry
    serving = registry.production().version
    assert registry.verify(serving) == []
    assert registry.verify_history() is None
    model = deployment.layout.models / f"{serving}.joblib"
    assert registry.alias.path.read_bytes() == model.read_bytes()
    return serving


def assert_all_readable(deployment):
    """Open every visible file of the deployment: none is half written."""
    for folder in (deployment.layout.data, deployment.layout.artifacts):
        for path in visible_files(folder):
            READERS.get(path.suffix, lambda path: path.read_bytes())(path)
