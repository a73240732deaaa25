"""Where the pipeline leaves what the service shows: each place named once, for both."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from churn_serving.settings import Paths


@dataclass(frozen=True)
class Published:
    """Files and folders of one deployment."""

    paths: Paths

    @property
    def drift(self) -> Path:
        """The newest day's drift report."""
        return self.paths.artifacts / "metrics" / "data_drift_latest.json"

    @property
    def performance(self) -> Path:
        """How well the model has done, as far as labels have matured."""
        return self.paths.artifacts / "metrics" / "performance_latest.json"

    @property
    def score_proxy(self) -> Path:
        """What the newest daily list looks like."""
        return self.paths.artifacts / "metrics" / "score_proxy_latest.json"

    @property
    def runs(self) -> Path:
        """How the last run of each job ended, as the daemon has seen it."""
        return self.paths.artifacts / "metrics" / "runs_latest.json"

    @property
    def reports(self) -> Path:
        """Pages for people."""
        return self.paths.artifacts / "reports"

    @property
    def features(self) -> Path:
        """Everybody's newest features, found by user id."""
        return self.paths.data / "features" / "online"

    @property
    def scores(self) -> Path:
        """The daily lists' scores, found by user id."""
        return self.paths.data / "predictions" / "online"

    @property
    def prediction_log(self) -> Path:
        """One line for every row that the service scored."""
        return self.paths.data / "predictions" / "log"
