"""From rows to answers, by features and by id, one at a time and many at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_serving.intake.problems import RefusedError
from churn_serving.reasons import explain
from churn_serving.schemas import Prediction

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import date, datetime, timedelta

    from numpy.typing import NDArray

    from churn_serving.intake.reader import Row, Rows
    from churn_serving.online.snapshot import Binding, Snapshot
    from churn_serving.serving import Serving
    from churn_serving.serving_model import ServingModel


@dataclass(slots=True)
class Scored:
    """An answer, and what it was made from.

    Attributes:
        answer: As it is sent.
        cells: The encoded row, F numbers; None if the user is not scored.
        place: Row of the snapshot; -1 if the features came with the request.
    """

    answer: Prediction
    cells: list[float] | None
    place: int


@dataclass(slots=True)
class Block:
    """Answers to many rows, and what they were made from. A scored row is one that has a score.

    Attributes:
        answers: One a row, in order; a row that could not be answered is its refusal.
        scored: (m,) numbers of the scored rows.
        matrix: (m, F) these, encoded.
        risks: (m,) their scores.
        places: (m,) their rows of the snapshot; -1 where the features came with the request.
    """

    answers: list[Prediction | RefusedError]
    scored: list[int] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    matrix: NDArray[np.float64] = field(default_factory=lambda: np.empty((0, 0)))
    risks: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))


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
        now = self._now()
        if row.cells is not None:
            answer = _answer(model, row, row.snapshot_date or now.date())
            scored = Scored(answer, model.reader.encoded(row.cells), -1)
        else:
            answer, place, cells = self._known(serving, model, row, now)
            scored = Scored(answer, None if answer.not_scored else _binding(serving).encoded(cells), place)
        if scored.cells is not None:
            risk = serving.scores.of(scored.place) if scored.place >= 0 and serving.scores else math.nan
            if risk != risk:  # noqa: PLR0124 - not known ahead
                risk = model.scorer.score_cells(scored.cells)
            if not math.isfinite(risk):
                raise _no_finite_score()
            answer.churn_risk, answer.risk_band = risk, model.bands.of(risk)
            _remark(serving, model, row, scored)
        return scored

    def many(self, serving: Serving, model: ServingModel, asked: Rows) -> Block:
        """Score many rows at once; each gets the same bits as alone. A row that cannot be scored is its refusal."""
        block = Block([])
        now = self._now()
        given: list[int] = []
        known: list[int] = []
        places: list[int] = []
        today = now.date()
        for number, row in enumerate(asked.rows):
            if isinstance(row, RefusedError):
                block.answers.append(row)
            elif row.cells is not None:
                block.answers.append(_answer(model, row, row.snapshot_date or today))
                given.append(number)
            else:
                answer, place = self._known_or_refusal(serving, model, row, now)
                block.answers.append(answer)
                if place >= 0:
                    known.append(number)
                    places.append(place)
        block.scored, block.places = given + known, [-1] * len(given) + places
        if block.scored:
            block.matrix = asked.matrix
            if known:
                block.matrix = np.concatenate([asked.matrix, _binding(serving).matrix(places)])
            _score(serving, model, asked.rows, block)
        return block

    def _known_or_refusal(
        self, serving: Serving, model: ServingModel, row: Row, now: datetime
    ) -> tuple[Prediction | RefusedError, int]:
        try:
            answer, place, _ = self._known(serving, model, row, now)
        except RefusedError as refusal:
            refusal.user_id = row.user_id
            return refusal, -1
        return answer, -1 if answer.not_scored else place

    def _known(
        self, serving: Serving, model: ServingModel, row: Row, now: datetime
    ) -> tuple[Prediction, int, list[float]]:
        """The answer about a user of the snapshot, without the score; the number of his row there, and the row."""
        snapshot = _snapshot(serving)
        if row.snapshot_date is not None and row.snapshot_date != snapshot.as_of_date:
            raise RefusedError(
                404, f"features as of {row.snapshot_date} are not served; the newest are as of {snapshot.as_of_date}"
            )
        place = snapshot.find(str(row.user_id))
        if place < 0:
            raise RefusedError(
                404, f"this user is not known as of {snapshot.as_of_date}; send `features` to score somebody new"
            )
        answer = _answer(model, row, snapshot.as_of_date)
        age = snapshot.age_seconds(now)
        answer.features_age_seconds = int(age)
        if age > self._max_age:
            hours = f"{age / 3600:.0f} hours"
            answer.warnings = [f"the features are {hours} old: the daily run has not published newer ones"]
        cells = snapshot.cells(place)
        if not snapshot.is_at_risk(cells):
            answer.not_scored = _why_not(serving, model, place)
        return answer, place, cells


def add_reasons(serving: Serving, model: ServingModel, rows: Sequence[Row], scored: Sequence[Scored]) -> None:
    """Add reasons to answers.

    Args:
        serving: What answers.
        model: Its model.
        rows: What was asked.
        scored: As it was answered; those without a score stay as they are.
    """
    pairs = [(row, entry) for row, entry in zip(rows, scored, strict=True) if entry.cells is not None]
    if not pairs:
        return
    vectors = np.array([entry.cells for _, entry in pairs], dtype=np.float64)
    values = [_values(serving, model, row, entry.place) for row, entry in pairs]
    for (_, entry), found in zip(pairs, explain(model.scorer, vectors, values, model.typical), strict=True):
        entry.answer.reasons = found


def add_block_reasons(serving: Serving, model: ServingModel, rows: Sequence[Any], block: Block) -> None:
    """Add reasons to the scored rows of a block."""
    if not block.scored:
        return
    pairs = zip(block.scored, block.places, strict=True)
    values = [_values(serving, model, rows[number], place) for number, place in pairs]
    for number, found in zip(block.scored, explain(model.scorer, block.matrix, values, model.typical), strict=True):
        block.answers[number].reasons = found  # type: ignore[union-attr]


def _answer(model: ServingModel, row: Row, day: date) -> Prediction:
    """An answer as far as it needs no score."""
    return Prediction(
        user_id=row.user_id,
        churn_risk=None,
        risk_band=None,
        model_version=model.version,
        model_path=model.path,
        as_of_date=day,
        missing_features=(),
    )


def _score(serving: Serving, model: ServingModel, rows: Sequence[Any], block: Block) -> None:
    """Put the scores of a block into its answers, and say what is unusual about rows."""
    block.risks = model.scorer.score(block.matrix)
    band_of, answers = model.bands.of, block.answers
    missing = model.reader.missing_of_rows(block.matrix)
    for number, risk, names in zip(block.scored, block.risks.tolist(), missing, strict=True):
        answer: Prediction = answers[number]  # type: ignore[assignment]
        answer.churn_risk, answer.risk_band, answer.missing_features = risk, band_of(risk), names
    for found in model.reader.rows_with_unseen(block.matrix):
        number, place = block.scored[found], block.places[found]
        values = _values(serving, model, rows[number], place)
        answers[number].unseen_categories = model.reader.unseen(block.matrix[found].tolist(), values)  # type: ignore[union-attr]
    if not np.isfinite(block.risks).all():
        _refuse_endless(rows, block)


def _refuse_endless(rows: Sequence[Any], block: Block) -> None:
    """Take the rows without a finite score out of a block."""
    is_finite = np.isfinite(block.risks)
    for number in np.array(block.scored)[~is_finite].tolist():
        refusal = _no_finite_score()
        refusal.user_id = rows[number].user_id
        block.answers[number] = refusal
    block.scored = np.array(block.scored)[is_finite].tolist()
    block.places = np.array(block.places)[is_finite].tolist()
    block.matrix, block.risks = block.matrix[is_finite], block.risks[is_finite]


def _remark(serving: Serving, model: ServingModel, row: Row, scored: Scored) -> None:
    """Say what is unusual about a row: values that are missing, categories that the model never saw."""
    cells: list[float] = scored.cells  # type: ignore[assignment]
    scored.answer.missing_features = model.reader.missing(cells)
    if model.reader.has_unseen(cells):
        scored.answer.unseen_categories = model.reader.unseen(cells, _values(serving, model, row, scored.place))


def _values(serving: Serving, model: ServingModel, row: Row, place: int) -> dict[str, Any]:
    """A row by feature name, as people see it."""
    return model.reader.values(row.cells) if row.cells is not None else _binding(serving).values(place)


def values_of(serving: Serving, scored: Scored) -> dict[str, Any]:
    """Return the snapshot's values of a known user by feature name, None where missing."""
    return _binding(serving).values(scored.place)


def _snapshot(serving: Serving) -> Snapshot:
    if serving.snapshot is None or serving.binding is None:
        problem = serving.snapshot_problem or "none have been published yet"
        raise RefusedError(
            503,
            f"there are no features to look up: {problem}; `churn score` publishes them, or send `features`",
            headers={"Retry-After": "60"},
        )
    return serving.snapshot


def _binding(serving: Serving) -> Binding:
    _snapshot(serving)
    binding: Binding = serving.binding  # type: ignore[assignment]
    return binding


def _why_not(serving: Serving, model: ServingModel, place: int) -> str:
    days = model.manifest.population.active_within_days
    idle: Any = _binding(serving).values(place).get("days_since_last_activity")
    day = _snapshot(serving).as_of_date
    if idle is None or idle >= days:
        return (
            f"the user has not been active in the {days} days up to {day}, so has left already: the model knows only "
            "users who were"
        )
    return f"no course or contract of the user runs long enough after {day}: to stop then would be no churn"


def _no_finite_score() -> RefusedError:
    return RefusedError(422, "these features have no finite score: some of their values are far too large")
