"""A small deployment whose predictions and labels are made up, day by day; its model is right unless told otherwise."""

from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa

from churn_assets.model_registry import open_registry
from churn_assets.scoring.predictions import predict, write_predictions
from churn_assets.settings import Settings
from churn_assets.workspace import Workspace
from churn_serving.linear import LinearScorer
from churn_serving.logs.prediction_log import PredictionLog
from churn_serving.manifest import Bands, Environment, Manifest, Period, Population, golden_rows
from churn_serving.published import Published
from churn_serving.schema import FeatureSpec

START = date(2024, 1, 1)
WINDOW = 7
HOLDOUT = {"pr_auc": 0.6, "roc_auc": 0.78, "brier": 0.15, "ece": 0.01, "precision_at_50": 0.7, "prevalence": 0.25}


def after(days):
    return START + timedelta(days=days)


TODAY = after(40)


def scorer_of(weight=1.5, feature="quiet"):
    return LinearScorer(
        (FeatureSpec(name=feature, kind="number", meaning="How quiet a user has become."),),
        weight=np.array([weight]),
        offset=np.zeros(1),
        missing=np.zeros(1),
        center=np.zeros(1),
        logarithmic=np.zeros(1, dtype=bool),
        level_start=np.array([-1]),
        levels=np.zeros(0),
        intercept=np.array([-1.5]),
    )


RIGHT = scorer_of()
"""What people do follows this model, in a world where nothing has changed."""


@dataclass
class World:
    """A deployment in a folder of its own."""

    folder: Path
    today: date = TODAY
    users: int = 400
    performance: dict = field(default_factory=lambda: {"judged_days": 7, "weeks": 3, "min_positives": 20})

    @property
    def workspace(self):
        """As a new process would see it."""
        content = {
            "paths": {"data": self.folder / "data", "artifacts": self.folder / "artifacts"},
            "clock": {"today": self.today},
            "source": {"start_date": START, "synthetic": {"users": self.users}},
            "churn": {"window_days": WINDOW},
            "performance": self.performance,
        }
        return Workspace(Settings.model_validate(content))

    @property
    def layout(self):
        return self.workspace.layout

    def snapshot(self, day):
        """Everybody's features on a day; people change slowly."""
        rng = np.random.default_rng(0)
        start, slope = rng.normal(size=self.users), rng.normal(size=self.users) / 100
        return pa.table(
            {
                "user_id": [f"u{n:04d}" for n in range(self.users)],
                "as_of_date": pa.array([day] * self.users, pa.date32()),
                "at_risk": np.ones(self.users, dtype=bool),
                "quiet": start + slope * (day - START).days,
            }
        )

    def promote(self, version="candidate_hgb_1", scorer=RIGHT, metrics=HOLDOUT):
        """Put a model into production."""
        rows = [{scorer.features[0].name: value} for value in np.linspace(-2, 2, 24)]
        draft = Manifest(
            version=version,
            model_type="logistic_regression",
            role="baseline",
            created_at=datetime(2024, 1, 1, tzinfo=UTC),
            features=scorer.features,
            golden=golden_rows(rows, [scorer.score_row(scorer.encode_row(row)) for row in rows]),
            threshold=0.5,
            bands=Bands(high=0.6, medium=0.3),
            population=Population(active_within_days=30, window_days=WINDOW),
            training={"training": Period(first=START, last=START, rows=1000)},
            data_fingerprint="ab" * 32,
            code_version="0.1.4",
            environment=Environment(python="3.11.7", packages={}),
            metrics=metrics,
            seed=7,
        )
        registry = open_registry(self.workspace)
        registry.register(draft, version.encode(), scorer, metrics={"metrics": metrics})
        registry.promote(version, actor="test", reason="because")
        return version

    def score(self, day, version="candidate_hgb_1", scorer=RIGHT, *, rows=None):
        """Write a day's list and snapshot; `rows` of the users only, if given."""
        snapshot = self.snapshot(day)
        self.layout.user_features.write(day, snapshot)
        listed = snapshot if rows is None else snapshot.slice(0, rows)
        table = predict(listed, scorer, Bands(high=0.6, medium=0.3), version)
        write_predictions(self.layout, day, table, 5)

    def mature(self, day, *, lead=None, left=None, rows=None):
        """Write the labels of an as-of date; people leave as `RIGHT` says, unless `left` says who.

        Those of `lead` come true instead: what people do has changed.
        """
        snapshot = self.snapshot(day)
        risk = RIGHT.score(RIGHT.encode_columns(snapshot))
        if lead is not None:
            risk = lead(risk)
        draws = np.random.default_rng(day.toordinal() // WINDOW).random(self.users)
        churned = (draws < risk) if left is None else np.full(self.users, left)
        labels = pa.table(
            {
                "user_id": snapshot["user_id"],
                "as_of_date": snapshot["as_of_date"],
                "churned": pa.array(churned.astype(np.int8)),
            }
        )
        self.layout.labels.write(day + timedelta(days=WINDOW), labels if rows is None else labels.slice(0, rows))

    def live(self, first, last, **changes):
        """Score and mature the days from the `first`th to the `last`th."""
        for number in range(first, last + 1):
            self.score(after(number))
            self.mature(after(number), **changes)

    def serve(self, rows, host="pod-1"):
        """Log answers of `(user id, score, time, as-of date or None)`."""
        now = [0.0]
        folder = Published(self.workspace.settings.paths).prediction_log
        log = PredictionLog(folder, interval=3600, clock=lambda: now[0], host=host)
        for number, (user, score, time, day) in enumerate(rows):
            now[0] = time.timestamp()
            log.record(f"r{number}", user, "candidate_hgb_1", score, np.zeros(1).tobytes(), day, by_id=day is not None)
        assert log.close()


def shuffled(risk):
    """People leave as often as before, and others than before."""
    return np.random.default_rng(5).permutation(risk)
