"""A deployment with a file of every kind for many days, and versions in the registry; made in no time."""

import os
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from pathlib import Path

import numpy as np

from churn_assets.model_registry import open_registry
from churn_assets.settings import Settings
from churn_assets.upkeep.clean import clean
from churn_assets.upkeep.retention import Limits
from churn_assets.workspace import Workspace
from churn_serving.atomic import write_json
from churn_serving.linear import LinearScorer
from churn_serving.manifest import Bands, Environment, Manifest, Period, Population, golden_rows
from churn_serving.published import Published
from churn_serving.schema import FeatureSpec

TODAY = date(2026, 3, 10)
YESTERDAY = TODAY - timedelta(days=1)
NOW = datetime(2026, 3, 10, 5, tzinfo=UTC)
WINDOW = 7
JUDGED = 7
WEEKS = 3
LONGEST = 30
AGES = (1, 2, 3, 7, 8, 9, 14, 15, 16, 22, 31, 37, 60, 90, 121, 122, 300)
"""Days before today of which there are files; many about the limits of what is needed."""

ROLES = {"baseline": "baseline_logreg", "candidate": "candidate_hgb"}
EVERYTHING = {
    "predictions_days": 1,
    "features_days": 1,
    "raw_days": 1,
    "quarantine_days": 1,
    "reports_days": 1,
    "prediction_log_days": 1,
    "models_count": 2,
}
"""The strictest limits that can be given."""


def ago(days):
    return TODAY - timedelta(days=days)


def scorer():
    return LinearScorer(
        (FeatureSpec(name="quiet", kind="number", meaning="How quiet a user has become."),),
        weight=np.array([1.5]),
        offset=np.zeros(1),
        missing=np.zeros(1),
        center=np.zeros(1),
        logarithmic=np.zeros(1, dtype=bool),
        level_start=np.array([-1]),
        levels=np.zeros(0),
        intercept=np.array([-1.5]),
    )


@dataclass(frozen=True)
class World:
    """A deployment in a folder of its own."""

    folder: Path

    @cached_property
    def workspace(self):
        """The deployment."""
        content = {
            "paths": {"data": self.folder / "data", "artifacts": self.folder / "artifacts"},
            "clock": {"today": TODAY},
            "source": {"start_date": ago(320)},
            "churn": {"window_days": WINDOW},
            "features": {"windows_days": [7, 14]},
            "performance": {"judged_days": JUDGED, "weeks": WEEKS},
        }
        return Workspace(Settings.model_validate(content))

    @property
    def layout(self):
        return self.workspace.layout

    @property
    def registry(self):
        return open_registry(self.workspace)

    def fill(self, ages=AGES):
        """Put a file of every kind for each day."""
        for age in ages:
            for path in self.of_day(ago(age)):
                put(path)
        for path in self.of_no_day():
            put(path)
        self.workspace.layout.source_state.unlink()
        self.workspace.pin_history()
        return self

    def of_day(self, day):
        """The files of a day, by kind in the order in which `clean` names them."""
        return [path for paths in self.by_kind(day).values() for path in paths]

    def by_kind(self, day):
        layout = self.layout
        log = Published(self.workspace.settings.paths).prediction_log
        outcomes = layout.outcomes_file(day)
        return {
            "prediction log": [log / f"served_{day:%Y%m%d}T080000Z_pod-1_17.jsonl"],
            "predictions": [layout.top_file(day, 50), layout.predictions_file(day)],
            "reports": [
                layout.drift_page(day),
                layout.evidently_page(day),
                layout.drift_file(day),
                layout.performance_page(day),
                layout.performance_file(day),
                layout.score_proxy_file(day),
                layout.feed_profile(day),
                outcomes.parent / "weeks" / f"{day}.json",
                outcomes.parent / "rescored" / f"{day}.parquet",
                *([outcomes] if day <= YESTERDAY - timedelta(days=WINDOW) else []),
            ],
            "quarantine": [layout.quarantine_file("events", day)],
            "features": [layout.user_features.path(day)],
            "raw": [layout.events.path(day), layout.raw_events.path(day)],
            "for ever": [layout.user_daily.path(day), layout.labels.path(day)],
        }

    def of_no_day(self):
        """Files that no clean-up may touch."""
        layout = self.layout
        return [
            layout.source_state,
            layout.arrivals,
            layout.raw_users.path,
            layout.users.path,
            layout.training_set.path,
            layout.quarantine_file("users"),
            layout.latest_predictions,
            layout.latest_score_proxy,
            layout.told,
            layout.raw_events.folder / "built_from.json",
            layout.predictions / "somebody's own notes 2020-01-01.txt",
            layout.predictions / "churn_predictions_2020-99-99.csv",
        ]

    def register(self, number, role):
        """Put the version of an hour into the registry, with its card; returns its name."""
        model, version = scorer(), f"{ROLES[role]}_20260101T{number:02d}0000Z"
        rows = [{"quiet": value} for value in np.linspace(-2, 2, 24)]
        draft = Manifest(
            version=version,
            model_type="logistic_regression",
            role=role,
            created_at=datetime(2026, 1, 1, number, tzinfo=UTC),
            features=model.features,
            golden=golden_rows(rows, [model.score_row(model.encode_row(row)) for row in rows]),
            threshold=0.5,
            bands=Bands(high=0.6, medium=0.3),
            population=Population(active_within_days=30, window_days=WINDOW),
            training={"training": Period(first=ago(100), last=ago(50), rows=1000)},
            data_fingerprint="ab" * 32,
            code_version="0.1.4",
            environment=Environment(python="3.11.7", packages={}),
            metrics={"pr_auc": 0.6},
            seed=7,
            reference="reference.json",
        )
        extra = {"reference.json": b"{}"}
        self.registry.register(draft, version.encode(), model, metrics={"metrics": {}}, extra_files=extra)
        put(self.layout.model_card(version))
        return version

    def promote(self, version):
        self.registry.promote(version, actor="test", reason="because")

    def alarm(self, version, kind, since):
        """Let an alert stand about a version."""
        latest = self.layout.latest_drift if kind == "drift" else self.layout.latest_performance
        alert = {"id": f"{version}@{kind}@{since}", "kind": kind, "since": since}
        write_json(latest, {"as_of_date": YESTERDAY, "model_version": version, "alert": alert})

    def of_version(self, version):
        """All files of a version."""
        layout = self.layout
        folder = layout.version_folder(version)
        others = [layout.models / f"{version}.joblib", layout.metrics / f"{version}.json", layout.model_card(version)]
        return [*sorted(path for path in folder.rglob("*") if path.is_file()), *others]

    def clean(self, **given):
        """Clean up; `given` are limits, by the names of the settings, and `dry_run`."""
        dry_run = given.pop("dry_run", False)
        limits = Limits.chosen(self.workspace.settings.retention, **given)
        return clean(self.workspace, limits, NOW, dry_run=dry_run)

    def files(self):
        """Every file but locks."""
        return {path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith(".")}


def put(path, *, text="content", age=None):
    """Make a file; `age` is how long ago it was written to."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path if age is None else aged(path, age)


def aged(path, by):
    """Let a file or folder have been written to a while ago."""
    then = (NOW - by).timestamp()
    os.utime(path, (then, then))
    return path
