"""The model card of a judged challenger."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from churn_assets.training import plots
from churn_assets.training.breakdown import Importance, ranked_importance, segments, tenure_bands
from churn_assets.training.build import RECENCY
from churn_assets.training.evaluation import Bands
from churn_assets.training.model_card import ModelCard, render_model_card
from churn_serving.manifest import sha256

if TYPE_CHECKING:
    import pandas as pd

    from churn_assets.training.build import Parts
    from churn_assets.training.decision import Decision, Judged
    from churn_assets.workspace import Workspace
    from churn_serving.registry import Registry

IMPORTANCE_ROWS = 5000
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
        importance=importance(judged, test),
        importance_meaning="Mean absolute contribution to the log-odds of churn, over a sample of the holdout.",
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


def importance(judged: Judged, test: pd.DataFrame) -> tuple[Importance, ...]:
    """Features by mean absolute contribution over a sample of the holdout that depends on the model's version alone."""
    scorer = judged.model.scorer
    seed = int(sha256(judged.version.encode())[:8], 16)
    chosen = np.random.default_rng(seed).permutation(len(test))[:IMPORTANCE_ROWS]
    encoded = scorer.encode_columns(test.iloc[np.sort(chosen)])
    return ranked_importance(scorer.features, np.abs(scorer.contributions(encoded)).mean(axis=0))


def with_tenure(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows with the column `tenure`: the band of days since signup."""
    return frame.assign(**{TENURE: tenure_bands(frame["days_since_signup"])})


def _outcome(judged: Judged, decision: Decision) -> tuple[str, str]:
    if not judged.verdict.passed:
        return "refused", " ".join(judged.verdict.reasons)
    if judged.version == decision.production:
        return "promoted", decision.why
    return "not chosen", decision.why
