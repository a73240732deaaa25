"""The day's performance report: outcomes brought up to date, weeks, the verdict, the estimate, and its page."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

import pyarrow.compute as pc

from churn_assets.layout import DATED, days_between
from churn_assets.monitoring.alert import is_newest, standing_before
from churn_assets.monitoring.performance.estimated import Estimated, expectation, expectation_intervals
from churn_assets.monitoring.performance.outcomes import (
    UnreadablePredictionsError,
    bring_up_to_date,
    label_day,
    outcomes_table,
    read_list,
)
from churn_assets.monitoring.performance.page import performance_page
from churn_assets.monitoring.performance.realised import Performance, Rows, measure
from churn_assets.monitoring.performance.report import (
    Evidence,
    Holdout,
    Judged,
    PerformanceReport,
    Production,
    performance_report,
)
from churn_assets.monitoring.performance.rescored import Rescored
from churn_assets.monitoring.performance.weeks import (
    monday_of,
    performance_by_week,
    rows_of,
    served_performance,
    tally_over,
)
from churn_assets.scoring.build import production
from churn_serving.atomic import write_json, write_text
from churn_serving.errors import ArtifactError

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from churn_assets.workspace import Workspace
    from churn_serving.bundle import LoadedModel

"""The day in a file's name, as a pattern."""


@dataclass(frozen=True)
class Reported:
    """A day's performance report and where it was written.

    Attributes:
        report: What it says.
        page: For people.
        joined: As-of dates whose predictions met their labels on this occasion.
    """

    report: PerformanceReport
    page: Path
    joined: list[date]


def report_day(workspace: Workspace, day: date) -> Reported:
    """Join what has matured by a day, judge it, and write the report and its page; the newest is the latest.

    Whatever is missing (a model, predictions, labels) is told in the report, whose status is then `UNKNOWN`.

    Raises:
        OSError: A file cannot be read or written.
    """
    layout, span = workspace.layout, _Span.of(workspace, day)
    model, why_none = _model(workspace)
    joined, problems = bring_up_to_date(workspace, min(span.first, span.begin), span.last)
    report = performance_report(
        _evidence(workspace, day, span, model, [*_missing(workspace, day, span), *problems]),
        Production(model.version, _holdout(model)) if model else why_none,
        as_of_date=day,
        standing=standing_before(layout.performance_files(), day),
        settings=workspace.settings.performance,
    )
    content = report.as_json()
    write_json(layout.performance_file(day), content)
    if day <= workspace.settings.yesterday and is_newest(layout.latest_performance, day):
        write_json(layout.latest_performance, content)
    write_text(layout.performance_page(day), performance_page(report))
    return Reported(report, layout.performance_page(day), joined)


def estimate_day(workspace: Workspace, day: date) -> Estimated | None:
    """Estimate the performance of the newest day scored until `day`; None if there is none.

    Raises:
        UnreadablePredictionsError: Its list is damaged.
    """
    names = [path.stem[-10:] for path in workspace.layout.predictions.glob(f"churn_predictions_{DATED}.csv")]
    until = [name for name in names if name <= day.isoformat()]
    if not until:
        return None
    newest = date.fromisoformat(max(until))
    table = read_list(workspace.layout.predictions_file(newest))
    scores = table["score"].to_numpy()
    return Estimated(
        as_of_date=newest,
        model_version=_most_common(table["model_version"]),
        rows=table.num_rows,
        expected=expectation(scores),
        intervals=expectation_intervals(scores),
        labels_mature_on=label_day(workspace, newest),
    )


@dataclass(frozen=True)
class _Span:
    """The as-of dates of a report.

    Attributes:
        first: First of the weeks that are told.
        begin: First that is judged.
        last: Newest whose labels are known.
    """

    first: date
    begin: date
    last: date

    @classmethod
    def of(cls, workspace: Workspace, day: date) -> _Span:
        settings = workspace.settings.performance
        last = day - timedelta(days=workspace.features.label_window)
        first = monday_of(last) - timedelta(weeks=settings.weeks - 1)
        return cls(first, last - timedelta(days=settings.judged_days - 1), last)


def _evidence(workspace: Workspace, day: date, span: _Span, model: LoadedModel | None, problems: list[str]) -> Evidence:
    table = outcomes_table(workspace.layout)
    days = [judged for judged in days_between(span.begin, span.last) if table.path(judged).exists()]
    made = {judged: table.read(judged) for judged in days}
    tables = list(made.values())
    as_made = measure(rows_of(tables, "batch"))
    return Evidence(
        as_made=as_made,
        judged=_judged(workspace, span, made, as_made, model),
        http=served_performance(tables),
        tally=tally_over(tables),
        weeks=performance_by_week(workspace.layout, span.first, span.last),
        estimated=_estimated(workspace, day, problems),
        problems=problems,
    )


def _judged(
    workspace: Workspace, span: _Span, made: dict[date, pa.Table], as_made: Performance, model: LoadedModel | None
) -> Judged:
    rescored = Rescored(workspace, model) if model else None
    found = [rescored.outcomes(day, table) for day, table in made.items()] if rescored else []
    again = sum(is_new for _, is_new in found)
    return Judged(
        first_date=span.begin,
        last_date=span.last,
        days=len(made),
        rescored_days=again,
        performance=measure(Rows.of([rows for rows, _ in found])) if again else as_made,
    )


def _estimated(workspace: Workspace, day: date, problems: list[str]) -> Estimated | None:
    try:
        return estimate_day(workspace, day)
    except UnreadablePredictionsError as error:
        problems.append(str(error))
        return None


def _missing(workspace: Workspace, day: date, span: _Span) -> list[str]:
    """What should be there on this day and is not, in words."""
    layout = workspace.layout
    if day > workspace.settings.yesterday:
        return [f"{day} has not ended yet, so nothing of it can be known."]
    if not layout.labels.path(day).exists() and span.last >= workspace.history_start:
        return [f"The labels that are known since {day} are not there: materialize `churn_labels` for it."]
    return []


def _model(workspace: Workspace) -> tuple[LoadedModel | None, str]:
    """The model that serves, or why there is none."""
    try:
        return production(workspace), ""
    except ArtifactError as error:
        return None, f"There is no model to judge: {error}."


def _holdout(model: LoadedModel) -> Holdout:
    told = model.manifest.metrics
    numbers = {name: told[name] for name in Holdout.__struct_fields__ if isinstance(told.get(name), int | float)}
    return Holdout(**numbers)


def _most_common(column: pa.ChunkedArray) -> str:
    counts = pc.value_counts(column).to_pylist()
    return str(max(counts, key=lambda entry: (entry["counts"], entry["values"]))["values"]) if counts else ""
