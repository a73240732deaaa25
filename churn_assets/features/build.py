"""Tables in, tables out: the feature layer over the layout's files."""

from __future__ import annotations

import functools
from datetime import date, timedelta
from typing import TYPE_CHECKING

import narwhals as nw
import pyarrow as pa

from churn_assets.engine import connect, list_literal
from churn_assets.features.panel import Panel, Users, load_panel
from churn_assets.features.user_daily import daily_activity
from churn_assets.features.windows import features_as_of, labels_as_of, measures_needed
from churn_assets.layout import Built, cut_by_day, days_between

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from churn_assets.layout import Stamp, StampOf
    from churn_assets.workspace import Workspace

DAYS_PER_QUERY = 16


def build_user_daily(workspace: Workspace, days: Sequence[date], tell: Callable[[str], None]) -> Built:
    """Build `user_daily` for `days`, and for days whose events were replaced since.

    Raises:
        MissingTableError: `validated_events` lacks one of the days.
    """
    layout = workspace.layout
    late = [day for day in layout.user_daily.stale_days(layout.events.stamp) if day not in set(days)]
    built = Built(late=late)
    with connect(layout.temporary) as connection:
        for chunk in _chunks(sorted({*days, *late})):
            files = list_literal([str(path) for path in layout.events.existing(chunk)])
            events = connection.sql(
                "SELECT CAST(event_time AS DATE) AS day, user_id, event_type, event_count, watch_minutes, quiz_score "
                f"FROM read_parquet({files})"
            )
            daily = daily_activity(nw.from_native(events), workspace.settings.events.vocabulary)
            for day, table in cut_by_day(daily.sort("day", "user_id").to_native().to_arrow_table(), chunk):
                layout.user_daily.write(day, table)
                built.add(day, table.num_rows)
            tell(f"days summed up to {chunk[-1]}")
    layout.user_daily.record(built.days, layout.events.stamp)
    return built


def build_labels(workspace: Workspace, days: Sequence[date]) -> Built:
    """Build `churn_labels` for `days`: the labels that are known since then, of as-of dates a label window before.

    Days whose activity was replaced since are built again. The first label windows of the history have none.

    Raises:
        MissingTableError: `user_daily` lacks one of the days.
    """
    layout, features, start = workspace.layout, workspace.features, workspace.history_start
    ahead = timedelta(days=features.label_window)

    window_stamp = label_stamps(workspace)
    late = [day for day in layout.labels.stale_days(window_stamp) if day not in set(days)]
    wanted = [day for day in sorted({*days, *late}) if day - ahead >= start]
    built = Built(late=late)
    if wanted:
        as_of = [day - ahead for day in wanted]
        panel = read_panel(workspace, as_of[0], as_of[-1], ahead=features.label_window, measures=("events",))
        rows = pa.concat_tables(list(labels_as_of(panel, as_of, features)))
        labels = rows.append_column("day", rows.column("as_of_date"))
        for past, table in cut_by_day(labels.sort_by([("day", "ascending"), ("user_id", "ascending")]), as_of):
            layout.labels.write(past + ahead, table)
            built.add(past + ahead, table.num_rows)
    layout.labels.record(built.days, window_stamp)
    return built


def label_stamps(workspace: Workspace) -> StampOf:
    """What labels of a day are built from: sizes and times of the days of its label window together."""
    layout, start = workspace.layout, workspace.history_start
    ahead = timedelta(days=workspace.features.label_window)
    stamp_of = functools.cache(layout.user_daily.stamp)

    def window_stamp(day: date) -> Stamp | None:
        stamps = [stamp for past in days_between(max(start, day - ahead), day) if (stamp := stamp_of(past))]
        return [sum(stamp[0] for stamp in stamps), max(stamp[1] for stamp in stamps)] if stamps else None

    return window_stamp


def build_snapshot(workspace: Workspace, day: date) -> pa.Table:
    """Build `user_features` of one day and return it.

    Raises:
        MissingTableError: `user_daily` lacks a day of the longest window.
    """
    table = snapshot(workspace, day)
    workspace.layout.user_features.write(day, table)
    return table


def is_snapshot_current(workspace: Workspace, day: date) -> bool:
    """Whether `user_features` has a day, and nothing that it is made from has changed or come since.

    Raises:
        SourceError: The source cannot be read.
    """
    layout = workspace.layout
    snapshot_stamp = layout.user_features.stamp(day)
    if snapshot_stamp is None or layout.user_daily.stamp(day) is None:
        return False
    first = max(workspace.history_start, day - timedelta(days=workspace.features.longest))
    stamps = [stamp for past in days_between(first, day) if (stamp := layout.user_daily.stamp(past))]
    if max(written for _, written in stamps) > snapshot_stamp[1]:
        return False
    stale = layout.events.stale_days(layout.raw_events.stamp) or layout.user_daily.stale_days(layout.events.stamp)
    return not stale and not workspace.opened_anew().source.has_news()


def read_panel(
    workspace: Workspace, first: date, last: date, *, ahead: int = 0, measures: Sequence[str] | None = None
) -> Panel:
    """Read what features as of `first` to `last` need: the longest window back, `ahead` days on.

    Args:
        workspace: Where.
        first: First as-of date.
        last: Last as-of date.
        ahead: Days after it.
        measures: Columns of `user_daily`; all that the features need, if None.

    Raises:
        MissingTableError: `user_daily` lacks one of the days.
    """
    layout, features = workspace.layout, workspace.features
    begin = max(workspace.history_start, first - timedelta(days=features.longest))
    days = days_between(begin, last + timedelta(days=ahead))
    layout.user_daily.existing(days)
    wanted = list(measures or measures_needed(features))
    tables = (layout.user_daily.read(day, ["user_id", *wanted]) for day in days)
    engagements = layout.engagements.read() if features.engagements else None
    return load_panel(Users.of(layout.users.read()), begin, tables, wanted, engagements)


def snapshot(workspace: Workspace, day: date) -> pa.Table:
    """The features of everybody on one day, sorted by user: what is scored and served."""
    return _join(features_as_of(read_panel(workspace, day, day), [day], workspace.features))


def training_rows(workspace: Workspace, dates: Sequence[date]) -> pa.Table:
    """Features and labels of everybody at risk, on sampled as-of dates; sorted by date and user."""
    panel = read_panel(workspace, dates[0], dates[-1], ahead=workspace.features.label_window)
    table = _join(features_as_of(panel, dates, workspace.features, at_risk_only=True, labels=True))
    return table.drop_columns("at_risk").sort_by([("as_of_date", "ascending"), ("user_id", "ascending")])


def _chunks(days: Sequence[date]) -> list[Sequence[date]]:
    return [days[start : start + DAYS_PER_QUERY] for start in range(0, len(days), DAYS_PER_QUERY)]


def _join(parts: Iterable[pa.Table]) -> pa.Table:
    return pa.concat_tables(list(parts)).unify_dictionaries()
