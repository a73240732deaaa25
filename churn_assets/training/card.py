"""The model card of a judged challenger."""

from __future__ import annotations

from typing import TYPE_CHECKING

from churn_assets.monitoring.build import read_reference
from churn_assets.training import plots
from churn_assets.training.breakdown import Importance, ranked_importance, segments, tenure_bands
from churn_assets.training.build import RECENCY
from churn_assets.training.evaluation import Bands
from churn_assets.training.model_card import ModelCard, render_model_card

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.training.build import Parts
    from churn_assets.training.decision import Decision, Judged
    from churn_assets.workspace import Workspace
    from churn_serving.registry import Registry

TENURE = "tenure"
SEGMENTS = ("plan", "country", TENURE)
SOURCES = {"synthetic": "the generated platform", "files": "files"}


def card_of(workspace: Workspace, registry: Registry, judged: Judged, decision: Decision, parts: Parts) -> str:
    """Render the card of one challenger, as one self-contained HTML page."""
    manifest, test = judged.model.manifest, parts.test
    recency = test[RECENCY]
    bands = Bands(high=manifest.bands.high, medium=manifest.bands.medium, f1=0.0)
    word, why = _outcome(judged, decision)
    card = ModelCard(
        version=judged.version,
        role=manifest.role,
        model_type=manifest.model_type,
        created_at=manifest.created_at,
        decision=word,
        decision_why=why,
        active_within_days=manifest.population.active_within_days,
        window_days=manifest.population.window_days,
        evaluation=judged.evaluation,
        verdict=judged.verdict,
        bands=bands,
        champion=decision.champion,
        champion_difference=judged.against_champion,
        segments=segments(with_tenure(test), judged.scores, SEGMENTS),
        importance=_importance(workspace, judged),
        importance_meaning="Share of a feature in what moves scores: its mean absolute contribution to the log-odds of "
        "churn about its mean, over that of all, in a sample of the holdout.",
        split=parts.split,
        training_rows=len(parts.training),
        calibration_rows=len(parts.calibration),
        feature_count=len(manifest.features),
        absent_features=workspace.features.absent,
        source=SOURCES.get(workspace.settings.source.kind, workspace.settings.source.kind),
        data_fingerprint=manifest.data_fingerprint,
        code_version=manifest.code_version,
        environment=(("python", manifest.environment.python), *sorted(manifest.environment.packages.items())),
        seed=manifest.seed,
        previous_version=registry.previous_production(),
        precision_recall_svg=plots.precision_recall_svg(test["churned"], judged.scores, recency=recency),
        calibration_svg=plots.calibration_svg(judged.evaluation.calibration),
        scores_svg=plots.score_distribution_svg(test["churned"], judged.scores, bands),
    )
    return render_model_card(card)


def _importance(workspace: Workspace, judged: Judged) -> tuple[Importance, ...]:
    """What the reference says that travels with the model; nothing if none does."""
    features = judged.model.manifest.features
    shares = read_reference(workspace, judged.model).importance
    return ranked_importance(features, [shares.get(spec.name, 0.0) for spec in features])


def with_tenure(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with the column `tenure`: the band of days since signup."""
    return frame.assign(**{TENURE: tenure_bands(frame["days_since_signup"])})


def _outcome(judged: Judged, decision: Decision) -> tuple[str, str]:
    if not judged.verdict.passed:
        return "refused", " ".join(judged.verdict.reasons)
    if judged.version == decision.production:
        return "promoted", decision.why
    return "not chosen", decision.why
