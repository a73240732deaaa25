"""What must hold of a deployment whatever has happened to a process in it."""

import csv
import json
from collections import Counter
from dataclasses import dataclass

import joblib
import numpy as np
import pyarrow.parquet as pq
from crash_points import pattern
from litestar.testing import TestClient
from typer.testing import CliRunner

from churn_assets.cli import app
from churn_serving.app import create_app
from churn_serving.bundle import GOLDEN_TOLERANCE
from churn_serving.history import SEEN
from churn_serving.logs.prediction_log import PREFIX
from churn_serving.model_watch import ModelWatch
from churn_serving.online.publication import Publication
from churn_serving.online.scores import ScoreHistory
from churn_serving.published import Published
from churn_serving.registry import Registry
from churn_serving.serving import Current
from churn_serving.settings import Paths
from churn_serving.watcher import Followed, Watcher
from churn_serving.worker_states import WorkerStates

SOMEBODY = "u000001"
NEEDS_A_PERSON = 3
AGAIN = {"registered", "intended", "abandoned", "refused"}
"""What a second attempt may add to the history: it is a further attempt, or says what became of the first."""


def _whole_csv(path):
    with path.open(newline="", encoding="utf-8") as lines:
        lengths = {len(row) for row in csv.reader(lines)}
    assert len(lengths) == 1, f"lines of {sorted(lengths)} columns"
    assert path.read_bytes().endswith(b"\n"), "the last line is cut off"


def _whole_lines(path):
    """Read lines of JSON; of a log, which is appended to, the last may be cut off: its reader leaves it out."""
    *lines, rest = path.read_bytes().split(b"\n")
    assert rest == b"" or path.name.startswith(PREFIX), "the last line is cut off"
    for line in lines:
        json.loads(line)


def _whole_page(path):
    assert path.read_text(encoding="utf-8").rstrip().endswith("</html>"), "the page is cut off"


def _whole_arrays(path):
    with np.load(path) as arrays:
        for name in arrays.files:
            arrays[name]


READERS = {
    ".parquet": pq.read_table,
    ".json": lambda path: json.loads(path.read_bytes()),
    ".jsonl": _whole_lines,
    ".csv": _whole_csv,
    ".joblib": joblib.load,
    ".html": _whole_page,
    ".npz": _whole_arrays,
}


def assert_whole(world, known):
    """Open every file that is not one of those known before: none is half-written.

    Args:
        world: Where.
        known: Inodes of files that were there before.
    """
    for name, path in world.files().items():
        reader = READERS.get(path.suffix)
        if reader is None or path.stat().st_ino in known:
            continue
        try:
            reader(path)
        except Exception as error:
            raise AssertionError(f"{name} is half-written: {error}") from error


@dataclass(frozen=True)
class Standing:
    """What served before, and what the history said.

    Attributes:
        serving: The version; None if none did.
        versions: All that there were.
        lines: The history.
    """

    serving: str | None
    versions: frozenset
    lines: tuple

    @classmethod
    def of(cls, world):
        """As it is in a world."""
        registry = Registry(world.root / "artifacts")
        path = registry.root / "history.jsonl"
        production = registry.production()
        versions = frozenset(summary.version for summary in registry.versions())
        return cls(production.version if production else None, versions, tuple(path.read_bytes().splitlines()))

    def assert_kept(self, world):
        """Make sure that the registry is in order, and that its history tells each thing once.

        Returns:
            The entries that came since.
        """
        registry = Registry(world.root / "artifacts")
        assert registry.verify_history() is None, f"line {registry.verify_history()} of the history is bad"
        registry.reconcile()
        assert registry.verify_history() is None, f"line {registry.verify_history()} is bad after catching up"
        lines = tuple((registry.root / "history.jsonl").read_bytes().splitlines())
        assert lines[: len(self.lines)] == self.lines, "entries of the history were lost or changed"
        _assert_told_once(registry)
        for version in {summary.version for summary in registry.versions()} - self.versions:
            assert not (problems := registry.verify(version)), f"{version} is visible and not sound: {problems}"
        assert not (again := registry.reconcile()), f"after catching up there was more to be caught up with: {again}"
        return registry.history()[len(self.lines) :]


def _assert_told_once(registry):
    history = registry.history()
    answers = Counter(entry.answers for entry in history if entry.answers)
    assert {entry.number for entry in history if entry.action == "intended"} == answers.keys(), "an intent is open"
    assert set(answers.values()) <= {1}, f"intents were answered twice: {answers}"
    came = Counter(entry.version for entry in history if entry.action == "registered")
    gone = Counter(entry.version for entry in history if entry.action == "removed")
    assert set(came.values()) <= {1}, f"versions were registered twice: {came}"
    assert set(gone.values()) <= {1}, f"versions were removed twice: {gone}"
    there = {summary.version for summary in registry.versions()}
    assert came.keys() - gone.keys() == there, f"the history has {came.keys() - gone.keys()}, and there are {there}"
    seen = [entry.alias for entry in history if entry.action in SEEN]
    assert (seen[-1] if seen else "") == registry.alias.digest(), "the history does not tell what serves"


class Service:
    """What the service has in its hands: it looks for news every second, and takes up what is sound.

    Args:
        world: Where it was started.
    """

    def __init__(self, world):
        published = Published(Paths(data=world.root / "data", artifacts=world.root / "artifacts"))
        models = ModelWatch(Registry(world.root / "artifacts"))
        followed = Followed(models, Publication(published.features), ScoreHistory(published.scores), None)
        self._current = Current()
        self._watcher = Watcher(self._current, followed, WorkerStates(None), 1.0)
        self._watcher.look()
        self._before = self._current.serving

    def assert_goes_on(self):
        """Have it look again: it still has a verified model, and everybody's features in the model's terms."""
        self._watcher.look()
        self._watcher.look()  # what is unsound is judged when it looks the same twice
        after = self._current.serving
        assert self._before.model is None or after.model is not None, "a running service lost its model"
        assert self._before.binding is None or after.binding is not None, "a running service lost its features"
        if after.model is not None:
            golden = after.model.manifest.golden[0]
            score = after.model.scorer.score_row(after.model.scorer.encode_row(golden.values))
            assert abs(score - golden.score) <= GOLDEN_TOLERANCE, f"{score} instead of {golden.score}"

    def assert_is_whole(self, world):
        """Make sure that it has found all it needs: the production model, and everybody's features."""
        serving, production = self._before, Registry(world.root / "artifacts").production()
        assert serving.model_problem is None, serving.model_problem
        assert serving.snapshot_problem is None, serving.snapshot_problem
        assert serving.model.version == production.version, f"{serving.model.version} serves, not {production.version}"
        assert serving.binding is not None, "a service that starts now has nobody's features"


def assert_answers():
    """Ask the service over HTTP who may leave."""
    with TestClient(create_app()) as client:
        ready = client.get("/ready").json()
        assert ready["degraded"] == [], ready
        answer = client.post("/predict", json={"user_id": SOMEBODY})
        assert answer.status_code == 200, answer.text
        assert answer.json()["model_version"] == ready["model_version"]


def assert_status_works():
    """Run `churn status`."""
    result = CliRunner().invoke(app, ["status", "--json"])
    assert result.exit_code in {0, NEEDS_A_PERSON}, (
        f"`churn status`: {result.exit_code} {result.output} {result.exc_info}"
    )
    assert "production model" in json.loads(result.stdout)


def spoken(entries):
    """What entries of the history say, without what is another in each run."""
    return [[entry.action, pattern(entry.version)] for entry in entries]


def unlike(once, begun_twice):
    """In what the history of a run that was begun twice differs from that of one begun once; empty if in nothing."""
    wanted, found = (Counter(map(tuple, said)) for said in (once, begun_twice))
    doubled = {said for said in found - wanted if said[0] not in AGAIN}
    parts = {"the history lacks": wanted.keys() - found.keys(), "it says twice": doubled}
    return "; ".join(f"{what} {sorted(said)}" for what, said in parts.items() if said)
