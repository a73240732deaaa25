"""The performance report in Dagster."""

import dagster as dg

from churn_assets.features.assets import churn_labels
from churn_assets.ingest.validation import as_markdown
from churn_assets.monitoring.performance.build import report_day
from churn_assets.monitoring.performance.report import PerformanceReport
from churn_assets.notify import messages
from churn_assets.notify.notifier import Notifier
from churn_assets.partitions import DAILY, SINGLE_RUN, days_of
from churn_assets.resources import ChurnWorkspace
from churn_assets.scoring.assets import churn_predictions

SHOWN_WEEKS = 10
SEVERITY = {
    "OK": dg.AssetCheckSeverity.WARN,
    "UNKNOWN": dg.AssetCheckSeverity.WARN,
    "WARN": dg.AssetCheckSeverity.WARN,
    "FAIL": dg.AssetCheckSeverity.ERROR,
}


@dg.asset(
    deps=[churn_predictions, churn_labels],
    group_name="monitoring",
    owners=["team:machine-learning"],
    kinds={"numpy", "json"},
    partitions_def=DAILY,
    backfill_policy=SINGLE_RUN,
    check_specs=[
        dg.AssetCheckSpec(
            "predictions_came_true",
            asset="performance_report",
            description="What the model said came true as often as it promised. Passes while that is not known yet.",
        )
    ],
)
def performance_report(context: dg.AssetExecutionContext, churn: ChurnWorkspace) -> dg.MaterializeResult:
    """How predictions came true once their labels matured, and what to expect of those whose labels have not."""
    workspace = churn.get()
    for day in days_of(context.partition_keys):
        reported = report_day(workspace, day)
        context.log.info("%s: %s, %d as-of dates joined", day, reported.report.status, len(reported.joined))
    report = reported.report
    if report.alert:
        Notifier.of(workspace).tell(messages.performance_alert(report.as_json()), today=workspace.settings.today)
    return dg.MaterializeResult(
        metadata={
            **_numbers(report),
            "weeks": dg.MetadataValue.md(_weeks(report)),
            "page": dg.MetadataValue.path(reported.page),
            "report": dg.MetadataValue.path(workspace.layout.performance_file(report.as_of_date)),
        },
        check_results=[
            dg.AssetCheckResult(
                passed=report.status in {"OK", "UNKNOWN"},
                check_name="predictions_came_true",
                severity=SEVERITY[report.status],
                metadata={"status": report.status, "reasons": dg.MetadataValue.md("\n".join(report.reasons))},
            )
        ],
    )


def _numbers(report: PerformanceReport) -> dict[str, str | float | int]:
    estimated = report.estimated.expected.pr_auc if report.estimated else None
    told = {
        "pr_auc": report.pr_auc,
        "roc_auc": report.roc_auc,
        "brier": report.brier,
        "ece": report.ece,
        "precision_at_50": report.precision_at_50,
        "expected_pr_auc": report.expected.pr_auc,
        "expected_roc_auc": report.expected.roc_auc,
        "estimated_pr_auc": estimated,
    }
    return {
        "status": report.status,
        "headline": report.headline,
        "what to do": report.what_to_do,
        "model": report.model_version or "none",
        "rows": report.rows,
        "positives": report.positives,
        "labels mature on": str(report.labels_mature_on or "nothing is scored"),
        **{name: value for name, value in told.items() if value is not None},
    }


def _weeks(report: PerformanceReport) -> str:
    rows = [
        {
            "week": week.week,
            "rows": f"{week.batch.rows:,}",
            "PR-AUC": _shown(week.batch.pr_auc),
            "promised": _shown(week.batch.promised.pr_auc),
            "ROC-AUC": _shown(week.batch.roc_auc),
        }
        for week in report.weeks[-SHOWN_WEEKS:]
    ]
    return as_markdown(rows) if rows else "No labels have matured yet."


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"
