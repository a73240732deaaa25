"""Tables in, tables out: the feature layer over the layout's files."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import narwhals as nw
import pyarrow as pa

from churn_assets.engine import connect, list_literal
from churn_assets.features.panel import Panel, Users, load_panel
from churn_assets.features.user_daily import daily_activity
from churn_assets.features.windows import features_as_of, measures_needed
from churn_assets.layout import cut_by_day, days_between

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from churn_assets.features.catalogue import FeatureSet
    from churn_assets.layout import Layout
    from churn_assets.settings import EventType

DAYS_PER_QUERY = 16


def build_user_daily(layout: Layout, days: Sequence[date], vocabulary: dict[str, EventType]) -> Iterator[tuple[date, int]]:
    """Build `user_daily` for `days`.

    Yields:
        Each day and its number of rows, as they are done.

    Raises:
        MissingTableError: `validated_events` lacks one of the days.
    """
    with connect(layout.temporary) as connection:
        for start in range(0, len(days), DAYS_PER_QUERY):
            chunk = days[start : start + DAYS_PER_QUERY]
            files = list_literal([str(path) for path in layout.events.existing(chunk)])
            events = connection.sql(
                "SELECT CAST(event_time AS DATE) AS day, user_id, event_type, event_count, watch_minutes, quiz_score "
                f"FROM read_parquet({files})"
            )
            daily = daily_activity(nw.from_native(events), vocabulary).sort("day", "user_id")
            for day, table in cut_by_day(daily.to_native().to_arrow_table(), chunk):
                layout.user_daily.write(day, table)
                yield day, table.num_rows


def read_panel(
    layout: Layout, features: FeatureSet, first: date, last: date, *, history_start: date, ahead: int = 0
) -> Panel:
    """Read what features as of `first` to `last` need: the longest window back, `ahead` days on.

    Raises:
        MissingTableError: `user_daily` lacks one of the days.
    """
    begin = max(history_start, first - timedelta(days=features.longest))
    days = days_between(begin, last + timedelta(days=ahead))
    layout.user_daily.existing(days)
    measures = list(measures_needed(features))
    tables = (layout.user_daily.read(day, ["user_id", *measures]) for day in days)
    engagements = layout.engagements.read() if features.engagements else None
    return load_panel(Users.of(layout.users.read()), begin, tables, measures, engagements)


def snapshot(layout: Layout, features: FeatureSet, day: date, history_start: date) -> pa.Table:
    """The features of everybody on one day, sorted by user: what is scored and served."""
    panel = read_panel(layout, features, day, day, history_start=history_start)
    return _join(features_as_of(panel, [day], features))


def training_rows(layout: Layout, features: FeatureSet, dates: Sequence[date], history_start: date) -> pa.Table:
    """Features and labels of everybody at risk, on sampled as-of dates; sorted by date and user."""
    panel = read_panel(
        layout, features, dates[0], dates[-1], history_start=history_start, ahead=features.label_window
    )
    table = _join(features_as_of(panel, dates, features, at_risk_only=True, labels=True))
    return table.drop_columns("at_risk").sort_by([("as_of_date", "ascending"), ("user_id", "ascending")])


def matured_labels(layout: Layout, features: FeatureSet, day: date, history_start: date) -> pa.Table:
    """The labels that are known since `day`: of those at risk `features.label_window` days before."""
    as_of = day - timedelta(days=features.label_window)
    panel = read_panel(layout, features, as_of, as_of, history_start=history_start, ahead=features.label_window)
    table = _join(features_as_of(panel, [as_of], features, at_risk_only=True, labels=True))
    return table.select(["user_id", "as_of_date", "churned"])


def _join(parts: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables(list(parts)).unify_dictionaries()
