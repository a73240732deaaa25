"""Drift on the real e-learning data set: does it alert in the weeks in which a fixed model is worse, and only then?

A model is trained on what was known at the first of 56 weeks and then left alone. Each week its ROC-AUC is measured as
of the Thursday, with the labels that came later; and the drift reports of that day and the two after it, which know no
labels, are asked whether they alert.

The limit of the score's PSI was chosen on the first half of the weeks; the second half is told apart.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from measure import Cost, Line, measure, measure_command, report
from oulad import DATA, ROOT

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEEKS = 56
CLOSE, WORSE = 0.02, 0.03
MOST_FALSE, LEAST_FOUND, LEAST_EITHER = 0.10, 0.60, 0.90
LAST_AS_OF = date(2015, 5, 21)
"""The newest Thursday whose label window lies within the data, apart from days on which nobody is at risk."""


@dataclass(frozen=True)
class Week:
    """One week.

    Attributes:
        day: As-of date.
        roc_auc: Of the fixed model, known later.
        alerts: Whether the drift signal is raised on that day and on as many after it as an alert needs.
        features_alert: Whether the usual rule would: any feature's PSI above 0.25.
        came_false: Whether performance alerts once the labels of that day have matured.
        held_back: Whether the alert would be held back because the feed looks broken.
    """

    day: date
    roc_auc: float
    alerts: bool
    features_alert: bool
    came_false: bool
    held_back: bool


def weeks_of(folder: Path) -> int:
    """Train, look at each week, write what was found to `folder`/weeks.npz; returns the number of weeks."""
    found = _look(folder)
    columns: dict[str, Any] = {
        name: [getattr(week, name) for week in found]
        for name in ("roc_auc", "alerts", "features_alert", "came_false", "held_back")
    }
    np.savez(folder / "weeks.npz", day=[week.day.isoformat() for week in found], **columns)
    return len(found)


def main() -> int:
    """Print how often it alerts; 1 if a limit is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--world", type=Path, metavar="FOLDER", help="where `churn seed` has been run on it")
    world = parser.parse_args().world
    if not (DATA / "activity.parquet").exists():
        print(f"{DATA} does not hold the data set: set OULAD_DIR to the folder that does", file=sys.stderr)
        return 1
    os.environ |= _configured()
    with tempfile.TemporaryDirectory() as name:
        costs = [] if world else [_history(Path(name))]
        folder = world or Path(name)
        costs.append(measure("a model, and 56 weeks of its drift", weeks_of, folder))
        found = np.load(folder / "weeks.npz")
    return 0 if report("oulad_drift", costs, _lines(found)) else 1


def _configured() -> dict[str, str]:
    return {
        "CHURN_MLOPS_CONFIG": str(ROOT / "examples/oulad/config.yaml"),
        "CHURN_SOURCE__FILES__ROOT": str(DATA.resolve()),
    }


def _history(folder: Path) -> Cost:
    (folder / "dagster.yaml").write_bytes((ROOT / "dagster.yaml").read_bytes())
    command = [sys.executable, "-m", "churn_assets", "build"]
    measure_command("raw data", [*command, "data"], folder, _configured())
    return measure_command("daily activity", [*command, "features"], folder, _configured())


def _look(folder: Path) -> list[Week]:
    from churn_assets.features.build import training_rows
    from churn_assets.workspace import Workspace

    os.chdir(folder)
    workspace = Workspace.load()
    days = _weeks(workspace)
    model, reference = _fixed_model(workspace, days[0])
    rows = training_rows(workspace, days)
    return [_week(workspace, model, reference, rows, day) for day in days]


def _weeks(workspace: Any) -> list[date]:
    """The newest weeks in which somebody is at risk."""
    from churn_assets.features.build import snapshot

    found: list[date] = []
    day = LAST_AS_OF
    while len(found) < WEEKS:
        if snapshot(workspace, day).column("at_risk").to_numpy().sum() > 1000:
            found.append(day)
        day -= timedelta(days=7)
    return found[::-1]


def _fixed_model(workspace: Any, today: date) -> tuple[Any, Any]:
    """What a retrain on a day would have made, and its drift reference."""
    from churn_assets.model_registry import open_registry
    from churn_assets.monitoring.build import read_reference
    from churn_assets.training.build import build_training_set, read_parts
    from churn_assets.training.challenger import train
    from churn_assets.workspace import Workspace
    from churn_serving.settings import ClockSettings

    then = Workspace(workspace.settings.model_copy(update={"clock": ClockSettings(today=today)}))
    build_training_set(then)
    registry = open_registry(then)
    model = registry.load(train(then, registry, "candidate", read_parts(then)).version)
    return model, read_reference(then, model)


def _week(workspace: Any, model: Any, reference: Any, rows: Any, day: date) -> Week:
    import pyarrow.compute as pc
    from sklearn.metrics import roc_auc_score

    from churn_assets.features.build import snapshot
    from churn_assets.monitoring.feed import feed_of
    from churn_assets.monitoring.reference import compare
    from churn_assets.monitoring.signal import signal_of

    settings = workspace.settings.drift
    signals = []
    for later in range(settings.consecutive_days):
        table = snapshot(workspace, day + timedelta(days=later))
        table = table.filter(table.column("at_risk"))
        scores = model.scorer.score(model.scorer.encode_columns(table))
        signals.append(signal_of(reference, scores, table.num_rows, day + timedelta(days=later), settings))
        if not later:
            shifts = compare(reference, table, scores).features
    labelled = rows.filter(pc.equal(rows.column("as_of_date"), day))
    scored = model.scorer.score(model.scorer.encode_columns(labelled))
    week = Week(
        day=day,
        roc_auc=float(roc_auc_score(labelled.column("churned").to_numpy(), scored)),
        alerts=all(signal.is_raised for signal in signals),
        features_alert=any(shift.psi >= settings.alert_psi for shift in shifts),
        came_false=_came_false(workspace, model, labelled, scored),
        held_back=feed_of(workspace, signals[-1].day, reaching_back=True).status == "FAULT",
    )
    now = signals[0]
    print(
        f"{day}  ROC-AUC {week.roc_auc:.3f}  PSI {now.score_psi:.3f}  promised {now.promised_roc_auc:.3f}  "
        f"{'ALERT' if week.alerts else ''}",
        file=sys.stderr,
    )
    return week


def _came_false(workspace: Any, model: Any, labelled: Any, scores: NDArray[np.float64]) -> bool:
    """Whether the day's predictions fell so far short of what was expected that performance alerts."""
    from churn_assets.monitoring.performance.realised import Rows, measure
    from churn_assets.monitoring.performance.report import fall

    limits = workspace.settings.performance
    rows = labelled.select(["user_id"]).append_column("score", [scores])
    found = measure(Rows.of([rows.append_column("churned", labelled.column("churned").cast("int8"))]))
    falls = {
        fall(found, "pr_auc", found.promised_at_prevalence.pr_auc, limits.max_pr_auc_drop),
        fall(found, "roc_auc", model.manifest.metrics["roc_auc"], limits.max_roc_auc_drop),
    }
    return "sure" in falls


def _lines(found: Any) -> list[Line]:
    """How often it alerts, over all weeks and in each half of them."""
    half = len(found["roc_auc"]) // 2
    lines = _shares(found["roc_auc"], found["alerts"], "all weeks", least=LEAST_FOUND)
    lines += _shares(found["roc_auc"], found["alerts"], "first half", slice(0, half))
    lines += _shares(found["roc_auc"], found["alerts"], "second half", slice(half, None))
    lines += _shares(found["roc_auc"], found["features_alert"], "any feature's PSI above 0.25, all weeks")
    lines += _shares(found["roc_auc"], found["came_false"], "performance, once labels mature")
    either = found["alerts"] | found["came_false"]
    lines += _shares(found["roc_auc"], either, "drift or performance, once labels mature", least=LEAST_EITHER)
    kept = found["alerts"] & ~found["held_back"]
    return lines + _shares(found["roc_auc"], kept, "drift alerts not held back by the feed's verdict")


def _shares(
    roc_auc: NDArray[np.float64],
    alerts: NDArray[np.bool_],
    name: str,
    part: slice = slice(None),
    *,
    least: float | None = None,
) -> list[Line]:
    median = np.median(roc_auc)
    good, bad = (np.abs(roc_auc - median) <= CLOSE)[part], (roc_auc < median - WORSE)[part]
    false, true = float(alerts[part][good].mean()), float(alerts[part][bad].mean())
    return [
        Line(f"{name}: alerts in {good.sum()} ordinary weeks", false, "", None if least is None else MOST_FALSE),
        Line(f"{name}: alerts in {bad.sum()} worse weeks", true, "", least=least),
    ]


if __name__ == "__main__":
    sys.exit(main())
