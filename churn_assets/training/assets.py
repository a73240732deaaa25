"""Training, judging and promoting in Dagster."""

import base64
from typing import Any

import dagster as dg

from churn_assets.features.assets import churn_labels, user_daily
from churn_assets.ingest.validation import as_markdown
from churn_assets.layout import MissingTableError
from churn_assets.model_registry import open_registry
from churn_assets.notify import messages
from churn_assets.notify.notifier import Notifier
from churn_assets.partitions import ALL_DAYS
from churn_assets.resources import ChurnWorkspace, clear_failure
from churn_assets.training import build, challenger, plots, promotion
from churn_assets.training.decision import Decision, Judged
from churn_assets.training.evaluation import Evaluation
from churn_assets.training.models import OneClassOnly
from churn_assets.training.splits import NotEnoughHistory
from churn_assets.workspace import Workspace
from churn_serving.errors import ArtifactError
from churn_serving.manifest import Role

ALERT = "churn/alert"
"""Tag of a run with the key of the alert that it answers."""

GROUP = "training"
OWNERS = ["team:machine-learning"]
EXPECTED = (MissingTableError, NotEnoughHistory, OneClassOnly, ArtifactError)


@dg.asset(
    deps=[dg.AssetDep(user_daily, partition_mapping=ALL_DAYS), dg.AssetDep(churn_labels, partition_mapping=ALL_DAYS)],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"numpy", "parquet"},
)
def training_set(churn: ChurnWorkspace) -> dg.MaterializeResult:
    """Features and labels of everybody at risk, at as-of dates sampled over the history."""
    workspace = churn.get()
    with clear_failure(*EXPECTED):
        built = build.build_training_set(workspace)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": built.rows,
            "as-of dates": f"{len(built.dates)}: {built.dates[0]} … {built.dates[-1]}",
            "prevalence": round(built.churn_rate, 4),
            "split": built.split.note,
            "absent features": ", ".join(workspace.features.absent) or "none",
            "path": dg.MetadataValue.path(workspace.layout.training_set.path),
        }
    )


@dg.asset(deps=[training_set], group_name=GROUP, owners=OWNERS, kinds={"scikitlearn"})
def baseline_model(churn: ChurnWorkspace) -> dg.MaterializeResult:
    """Logistic regression: the simple challenger. On small data it often wins."""
    return _train(churn, "baseline")


@dg.asset(deps=[training_set], group_name=GROUP, owners=OWNERS, kinds={"scikitlearn"})
def candidate_model(churn: ChurnWorkspace) -> dg.MaterializeResult:
    """Histogram gradient boosting: the challenger that sees interactions."""
    return _train(churn, "candidate")


@dg.asset(
    deps=[baseline_model, candidate_model],
    group_name=GROUP,
    owners=OWNERS,
    kinds={"scikitlearn", "numpy"},
    check_specs=[
        dg.AssetCheckSpec(
            "gates",
            asset="production_model",
            description="At least one challenger passed every gate; else the champion goes on serving.",
        )
    ],
)
def production_model(context: dg.AssetExecutionContext, churn: ChurnWorkspace) -> dg.MaterializeResult:
    """The model that serves: judged against its predecessor on the same fresh holdout, compiled and verified."""
    workspace = churn.get()
    registry = open_registry(workspace)
    with clear_failure(*EXPECTED, promotion.NoModelPassedError):
        decision = promotion.decide(workspace, registry, actor=f"run {context.run_id[:8]}")
    _tell(workspace, decision, context.run.tags.get(ALERT))
    passed = any(one.verdict.passed for one in decision.challengers)
    metadata: dict[str, Any] = {
        "version": decision.production,
        "previous": decision.champion or "none",
        "promoted": decision.promoted,
        "why": decision.why,
        "history": dg.MetadataValue.path(workspace.layout.promotion_history),
    }
    for one in decision.challengers:
        metadata[f"model card: {one.version}"] = dg.MetadataValue.path(workspace.layout.model_card(one.version))
    return dg.MaterializeResult(
        metadata=metadata,
        check_results=[
            dg.AssetCheckResult(
                passed=passed,
                check_name="gates",
                severity=dg.AssetCheckSeverity.WARN,
                metadata={one.version: dg.MetadataValue.md(_gate_table(one)) for one in decision.challengers},
            )
        ],
    )


def _tell(workspace: Workspace, decision: Decision, alert: str | None) -> None:
    """Tell people what was decided, and which alert it answers."""
    if decision.promoted and decision.production:
        message = messages.promoted(decision.production, decision.champion, decision.why)
    else:
        refused = [one for one in decision.challengers if not one.verdict.passed]
        reasons = [f"{one.version}: {' '.join(one.verdict.reasons)}" for one in refused] or [decision.why]
        message = messages.refused([one.version for one in decision.challengers], reasons, alert)
    Notifier.of(workspace).tell(message, today=workspace.settings.today)


def _train(churn: ChurnWorkspace, role: Role) -> dg.MaterializeResult:
    workspace = churn.get()
    with clear_failure(*EXPECTED):
        parts = build.read_parts(workspace)
        trained = challenger.train(workspace, open_registry(workspace), role, parts)
    fitted, judged = trained.fitted, trained.fitted.evaluation
    truth = parts.test["churned"]
    return dg.MaterializeResult(
        metadata={
            "version": trained.version,
            "metrics": dg.MetadataValue.md(_metric_table(judged)),
            "precision and recall": _picture(
                plots.precision_recall_svg(truth, fitted.scores, recency=parts.test[build.RECENCY])
            ),
            "calibration": _picture(plots.calibration_svg(judged.calibration)),
            "scores": _picture(plots.score_distribution_svg(truth, fitted.scores, fitted.bands)),
            "pr_auc": judged.pr_auc.value or 0.0,
            "roc_auc": judged.roc_auc.value or 0.0,
            "ece": judged.ece.value or 0.0,
            "training rows": len(parts.training),
            "test rows": len(parts.test),
            "split": parts.split.note,
            "path": dg.MetadataValue.path(workspace.layout.models / f"{trained.version}.joblib"),
        }
    )


def _metric_table(judged: Evaluation) -> str:
    rows = [
        _metric_row("PR-AUC", judged.pr_auc, judged.recency_pr_auc),
        _metric_row("ROC-AUC", judged.roc_auc, judged.recency_roc_auc),
        _metric_row("Brier", judged.brier, None),
        _metric_row("ECE", judged.ece, None),
    ]
    rows += [
        {"metric": name, "value": _shown(value), "95 % interval": "", "recency alone": ""}
        for name, value in (
            ("lift in the top tenth", judged.lift_at_10pct),
            ("precision in the top tenth", judged.precision_at_10pct),
            ("precision at 50", judged.precision_at_50),
            ("prevalence", judged.prevalence),
        )
    ]
    return as_markdown(rows)


def _metric_row(name: str, found: Any, recency: Any) -> dict[str, str]:
    return {
        "metric": name,
        "value": _shown(found.value),
        "95 % interval": "" if found.low is None else f"{found.low:.3f} to {found.high:.3f}",
        "recency alone": "" if recency is None else _shown(recency.value),
    }


def _gate_table(judged: Judged) -> str:
    return as_markdown(
        [
            {"gate": gate.name, "passed": "yes" if gate.passed else "NO", "why": gate.why}
            for gate in judged.verdict.gates
        ]
    )


def _shown(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _picture(svg: bytes) -> dg.MetadataValue[Any]:
    return dg.MetadataValue.md(f"![picture](data:image/svg+xml;base64,{base64.b64encode(svg).decode()})")
