"""Events to one row a user and day: the one heavy group-by, written once for any engine.

The expression is narwhals', so the same definition runs on DuckDB and on other engines. Sums are exact in any order:
minutes and scores lie on a grid (see `churn_assets.ingest.contract`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import narwhals as nw

if TYPE_CHECKING:
    from churn_assets.source_settings import EventType

QUIZ_SUM = "quiz_score_sum"
QUIZ_COUNT = "quiz_scores"


def daily_activity(events: nw.LazyFrame[Any], vocabulary: dict[str, EventType]) -> nw.LazyFrame[Any]:
    """Sum validated events by `day` and `user_id`.

    Args:
        events: `day`, `user_id`, `event_type`, `event_count`, `watch_minutes`, `quiz_score`.
        vocabulary: Which types are activity, and how their counts are called.

    Returns:
        `day`, `user_id`, `events` (activity only), a count a counted type, `watch_minutes`, `quiz_score_sum`,
        `quiz_scores` (how many attempts had a score). Unordered.
    """
    active = [name for name, kind in vocabulary.items() if kind.activity]
    counts = {kind.counts: name for name, kind in vocabulary.items() if kind.counts}
    return events.group_by("day", "user_id").agg(
        _count_of(active).alias("events"),
        *(_count_of([name]).alias(column) for column, name in counts.items()),
        nw.col("watch_minutes").fill_null(0.0).sum().alias("watch_minutes"),
        nw.col("quiz_score").fill_null(0.0).sum().alias(QUIZ_SUM),
        nw.col("quiz_score").count().alias(QUIZ_COUNT),
    )


def _count_of(types: list[str]) -> nw.Expr:
    chosen = nw.when(nw.col("event_type").is_in(types)).then(nw.col("event_count")).otherwise(nw.lit(0))
    return chosen.sum().cast(nw.Int32)
