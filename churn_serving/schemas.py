"""What the service answers, as types; the OpenAPI document is made from them."""

from __future__ import annotations

from datetime import date, datetime
from typing import Any, Literal

import msgspec

from churn_serving.manifest import Band, Bands, ModelType, Period, Population
from churn_serving.online.scores import DayScore
from churn_serving.schema import FeatureSpec
from churn_serving.versions import VersionSummary
from churn_serving.wording import Reason

UserId = str | int


class Prediction(msgspec.Struct, kw_only=True, omit_defaults=True, gc=False):
    """How likely a user is to leave.

    Attributes:
        user_id: As it was asked.
        churn_risk: Probability of no activity in the label window; null if the user is not scored.
        risk_band: `high`, `medium` or `low`; null if the user is not scored.
        model_version: The model that scored.
        model_path: Its file on the shared storage.
        as_of_date: The day that the features describe.
        missing_features: Features without a value; they were imputed as in training.
        features_age_seconds: Time since the end of that day, if the features came from the snapshot.
        unseen_categories: Features whose category the model never saw, with that category; scored as unseen.
        warnings: What to bear in mind.
        not_scored: Why there is no score: the user is known but not at risk.
        reasons: What moves this risk most, strongest first; with `?explain=true`.
    """

    user_id: UserId
    churn_risk: float | None
    risk_band: Band | None
    model_version: str
    model_path: str
    as_of_date: date
    missing_features: tuple[str, ...]
    features_age_seconds: int | None = None
    unseen_categories: dict[str, str] | None = None
    warnings: list[str] | None = None
    not_scored: str | None = None
    reasons: list[Reason] | None = None


class FieldProblem(msgspec.Struct, frozen=True, kw_only=True):
    """What is wrong with one field of a request."""

    key: str
    message: str


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An error, in Litestar's form.

    Attributes:
        status_code: As the HTTP status.
        detail: What is wrong and what to do.
        extra: The fields that are wrong, where it is about fields.
    """

    status_code: int
    detail: str
    extra: list[FieldProblem] = []


class RefusedRow(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A row of a batch that could not be scored.

    Attributes:
        user_id: As it was asked, if it could be read.
        error: As a request of its own would have been answered.
    """

    error: Problem
    user_id: UserId | None = None


class BatchPrediction(msgspec.Struct, kw_only=True):
    """One answer a row, in the order of the rows."""

    predictions: list[Prediction | RefusedRow]


class Live(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["live"] = "live"


class Ready(msgspec.Struct, frozen=True, kw_only=True):
    """A verified model serves.

    Attributes:
        status: `ready`.
        model: The model's file.
        model_version: Its version.
        degraded: What is wrong although it serves: the newest model was refused, or features are stale.
    """

    model: str
    model_version: str
    status: Literal["ready"] = "ready"
    degraded: list[str] = []


class WorkerState(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker process serves.

    Attributes:
        pid: Its process.
        model_version: Its model; null while it has none.
        loaded_at: When it took that model up.
        features_as_of: Day of the snapshot that it maps; null while it has none.
        reload_problem: Why the newest model was refused; null if it was not.
    """

    pid: int
    model_version: str | None
    loaded_at: datetime | None
    features_as_of: date | None
    reload_problem: str | None


class ModelDescription(msgspec.Struct, frozen=True, kw_only=True):
    """The production model.

    Attributes:
        version: The file's stem.
        model_type: What kind of model.
        model_path: The file.
        features: What it reads: name, kind, meaning, bounds, known categories.
        metrics: What evaluation found.
        trained_on: The dates of each split.
        population: Whom it is about, and what churn is.
        bands: Probabilities from which a risk is high, or medium.
        threshold: Probability above which a user counts as churning.
        created_at: When it was trained.
        promoted_at: When it became the production model.
        promoted_because: Why.
        promoted_by: By whom.
        code_version: The code that trained it.
        data_fingerprint: Digest of the training data.
        workers: What each worker of this server serves.
    """

    version: str
    model_type: ModelType
    model_path: str
    features: tuple[FeatureSpec, ...]
    metrics: dict[str, Any]
    trained_on: dict[str, Period]
    population: Population
    bands: Bands
    threshold: float
    created_at: datetime
    promoted_at: datetime
    promoted_because: str
    promoted_by: str
    code_version: str
    data_fingerprint: str
    workers: list[WorkerState]


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """Every registered version, the newest first."""

    production: str | None
    models: list[VersionSummary]


class UserDetails(msgspec.Struct, kw_only=True):
    """All that is known of a user's risk.

    Attributes:
        prediction: As `/predict?explain=true` answers.
        at_risk: Whether the user counts as active, so is scored.
        features: The newest snapshot, by feature.
        risk_rank: Place in the newest daily list, 1 is most at risk; null if not on it.
        of: Users on that list.
        history: Scores of earlier daily lists, oldest first.
    """

    prediction: Prediction
    at_risk: bool
    features: dict[str, float | str | None]
    risk_rank: int | None
    of: int | None
    history: list[DayScore]
