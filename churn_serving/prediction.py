"""From rows to answers: one code for a single row and for a batch, by features and by id."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_serving.intake.problems import RefusedError
from churn_serving.reasons import explain
from churn_serving.schemas import Prediction, RefusedRow

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from numpy.typing import NDArray

    from churn_serving.intake.reader import Row
    from churn_serving.online.snapshot import Binding
    from churn_serving.serving import Serving
    from churn_serving.serving_model import ServingModel
    from churn_serving.wording import Value


@dataclass(slots=True)
class Scored:
    """An answer, and what it was made from.

    Attributes:
        answer: As it is sent.
        vector: (F,) the encoded row; None if the user is not scored.
        values: Gives the row by feature name, as people see it.
        by_id: Whether the features came from the snapshot.
    """

    answer: Prediction
    vector: NDArray[np.float64] | None
    values: Callable[[], Mapping[str, Value]]
    by_id: bool


class Predictor:
    """Answers rows with what serves at the moment.

    Args:
        now: The time, UTC.
        features_max_age: A snapshot older than this makes a warning.
    """

    def __init__(self, now: Callable[[], datetime], features_max_age: timedelta) -> None:
        self._now = now
        self._max_age = features_max_age.total_seconds()

    def one(self, serving: Serving, model: ServingModel, row: Row) -> Scored:
        """Score one row.

        Raises:
            RefusedError: The user is unknown (404), there is no snapshot (503), or no finite score (422).
        """
        scored = self._prepared(serving, model, row)
        if scored.vector is not None:
            risk = model.scorer.score_row(scored.vector)
            _require_finite(risk)
            scored.answer.churn_risk = risk
            scored.answer.risk_band = model.bands.of(risk)
        return scored

    def many(
        self, serving: Serving, model: ServingModel, rows: Sequence[Row | RefusedError]
    ) -> list[Scored | RefusedError]:
        """Score many rows at once; each gets the same bits as alone. A row that cannot be scored is its refusal."""
        results = [self._prepared_or_refusal(serving, model, row) for row in rows]
        places = [
            place for place, found in enumerate(results) if isinstance(found, Scored) and found.vector is not None
        ]
        if not places:
            return results
        risks = model.scorer.score(np.array([results[place].vector for place in places])).tolist()  # type: ignore[union-attr]
        band_of = model.bands.of
        for place, risk in zip(places, risks, strict=True):
            if math.isfinite(risk):
                answer = results[place].answer  # type: ignore[union-attr]
                answer.churn_risk, answer.risk_band = risk, band_of(risk)
            else:
                results[place] = _no_finite_score()
        return results

    def _prepared_or_refusal(
        self, serving: Serving, model: ServingModel, row: Row | RefusedError
    ) -> Scored | RefusedError:
        if isinstance(row, RefusedError):
            return row
        try:
            return self._prepared(serving, model, row)
        except RefusedError as refusal:
            refusal.user_id = row.user_id
            return refusal

    def _prepared(self, serving: Serving, model: ServingModel, row: Row) -> Scored:
        """Everything of an answer but the score."""
        if row.cells is None:
            return self._by_id(serving, model, row)
        vector = model.reader.vector(row.cells)
        answer = Prediction(
            user_id=row.user_id,
            churn_risk=None,
            risk_band=None,
            model_version=model.manifest.version,
            model_path=model.path,
            as_of_date=row.snapshot_date or self._now().date(),
            missing_features=model.reader.missing(vector),
        )
        if model.reader.has_unseen(vector):
            answer.unseen_categories = model.reader.unseen(vector, row.cells)
        return Scored(answer, vector, lambda: model.reader.values(row.cells), by_id=False)  # type: ignore[arg-type]

    def _by_id(self, serving: Serving, model: ServingModel, row: Row) -> Scored:
        snapshot, binding = serving.snapshot, serving.binding
        if snapshot is None or binding is None:
            raise RefusedError(
                503,
                "no features have been published yet: `churn score` publishes them; or send `features`",
                headers={"Retry-After": "60"},
            )
        if row.snapshot_date not in {None, snapshot.as_of_date}:
            raise RefusedError(
                404, f"features as of {row.snapshot_date} are not served; the newest are as of {snapshot.as_of_date}"
            )
        place = snapshot.find(str(row.user_id))
        if place < 0:
            raise RefusedError(
                404, f"this user is not known as of {snapshot.as_of_date}; send `features` to score somebody new"
            )
        age = snapshot.age_seconds(self._now())
        answer = Prediction(
            user_id=row.user_id,
            churn_risk=None,
            risk_band=None,
            model_version=model.manifest.version,
            model_path=model.path,
            as_of_date=snapshot.as_of_date,
            missing_features=[],
            features_age_seconds=int(age),
        )
        if age > self._max_age:
            answer.warnings = [
                f"the features are {age / 3600:.0f} hours old: the daily run has not published newer ones"
            ]
        vector = None
        if snapshot.at_risk(place):
            vector = binding.vector(place)
            answer.missing_features = model.reader.missing(vector)
            if model.reader.has_unseen(vector):
                answer.unseen_categories = _unseen(binding, place)
        else:
            days = model.manifest.population.active_within_days
            answer.not_scored = (
                f"the user has not been active in the {days} days before {snapshot.as_of_date}, so has left already: "
                "the model knows only users who were"
            )
        return Scored(answer, vector, lambda: binding.values(place), by_id=True)


def add_reasons(model: ServingModel, scored: Sequence[Scored]) -> None:
    """Add reasons to answers."""
    explained = [entry for entry in scored if entry.vector is not None]
    if not explained:
        return
    vectors = np.array([entry.vector for entry in explained])
    reasons = explain(model.scorer, vectors, [entry.values() for entry in explained], model.typical)
    for entry, found in zip(explained, reasons, strict=True):
        entry.answer.reasons = found


def refused_row(refusal: RefusedError) -> RefusedRow:
    """Return a refusal as a row of a batch."""
    return RefusedRow(user_id=refusal.user_id, error=refusal.problem)


def _unseen(binding: Binding, place: int) -> dict[str, str]:
    values: Mapping[str, Any] = binding.values(place)
    return {name: values[name] for name in binding.unseen(place)}


def _require_finite(risk: float) -> None:
    if not math.isfinite(risk):
        raise _no_finite_score()


def _no_finite_score() -> RefusedError:
    return RefusedError(422, "these features have no finite score: some of their values are far too large")
