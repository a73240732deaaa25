"""Judge the challengers against production on the same fresh holdout, and promote the winner."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from churn_assets.training import build
from churn_assets.training.card import card_of
from churn_assets.training.challenger import latency_us
from churn_assets.training.decision import Decision, Judged
from churn_assets.training.gates import Choice, Contender, choose, judge
from churn_serving.atomic import write_text
from churn_serving.errors import ArtifactError, ChampionChangedError, ForeignAliasError
from churn_serving.registry import Registry

if TYPE_CHECKING:
    from churn_assets.training.build import Parts
    from churn_assets.workspace import Workspace
    from churn_serving.bundle import LoadedModel
    from churn_serving.manifest import Role


ATTEMPTS = 3
"""How often a challenger is judged if the champion changes meanwhile."""

LIMITS = (
    "The limits stand under `training:` in the configuration; where churn is rare, `min_pr_auc: null` with "
    "`min_pr_auc_lift: 2.0` asks for a multiple of the prevalence instead."
)


class NoModelPassedError(RuntimeError):
    """There is no production model, and no challenger passed the gates."""


def decide(workspace: Workspace, registry: Registry, *, actor: str) -> Decision:
    """Judge the newest challenger of each kind, promote the winner, write down what was refused and why.

    If another run promotes a model meanwhile, the challengers are judged again, against that one.

    Raises:
        NoModelPassedError: Nothing serves yet, and nothing may.
        MissingTableError: There is no training set.
        ArtifactError: There are no challengers, or the registry refuses one.
    """
    parts = build.read_parts(workspace)
    for _ in range(ATTEMPTS - 1):
        with contextlib.suppress(ChampionChangedError):
            return _decide(workspace, registry, parts, actor)
    return _decide(workspace, registry, parts, actor)


@dataclass(frozen=True)
class Champion:
    """What serves while challengers are judged.

    Attributes:
        version: Its version; None if nothing registered serves.
        model: The model; None as well if it cannot be loaded.
        damage: Why it cannot; empty if it can.
    """

    version: str | None = None
    model: LoadedModel | None = None
    damage: str = ""


def _decide(workspace: Workspace, registry: Registry, parts: Parts, actor: str) -> Decision:
    champion = _champion(registry)
    models = [registry.load(_newest(registry, role)) for role in ("baseline", "candidate")]
    judged = tuple(_judge(workspace, model, champion.model, parts) for model in models)
    choice = _choose(workspace, judged, parts, champion)
    decision = _settle(registry, judged, choice, champion, actor)
    _write_cards(workspace, registry, decision, parts)
    if decision.production is None:
        reasons = "; ".join(f"{one.version}: {' '.join(one.verdict.reasons)}" for one in judged)
        raise NoModelPassedError(f"no challenger passed the gates, and no model serves yet. {reasons} {LIMITS}")
    return decision


def _champion(registry: Registry) -> Champion:
    """The production model. One that is damaged cannot be compared with, and must not keep others from its place."""
    registry.reconcile()
    try:
        production = registry.production()
    except ForeignAliasError:
        return Champion()
    if production is None:
        return Champion()
    try:
        return Champion(production.version, registry.load(production.version))
    except ArtifactError as error:
        return Champion(production.version, damage=str(error))


def _newest(registry: Registry, role: Role) -> str:
    for summary in registry.versions():
        if summary.role == role:
            return summary.version
    raise ArtifactError(f"there is no {role} model in the registry: materialize `{role}_model` first")


def _judge(workspace: Workspace, model: LoadedModel, champion: LoadedModel | None, parts: Parts) -> Judged:
    from churn_assets.training.bootstrap import paired_difference
    from churn_assets.training.evaluation import evaluate

    settings, test = workspace.settings.training, parts.test
    scores = _score(model, parts)
    evaluation = evaluate(
        test["churned"],
        scores,
        test["user_id"],
        recency=test[build.RECENCY],
        threshold=model.manifest.threshold,
        seed=settings.seed,
        replicates=settings.bootstrap_replicates,
    )
    difference = None
    if champion is not None and champion.version != model.version:
        difference = paired_difference(
            test["churned"],
            scores,
            _score(champion, parts),
            test["user_id"],
            seed=settings.seed,
            replicates=settings.bootstrap_replicates,
        )
    golden = model.manifest.golden
    rows = [row.values for row in golden]
    found = model.scorer.score(np.stack([model.scorer.encode_row(row) for row in rows]))
    verdict = judge(
        evaluation,
        champion=difference,
        golden_max_error=float(np.max(np.abs(found - [row.score for row in golden]))),
        latency_us=latency_us(model.scorer, rows),
        settings=settings,
    )
    return Judged(model, scores, evaluation, difference, verdict)


def _score(model: LoadedModel, parts: Parts) -> Any:
    """Scores on the holdout. A feature that an older model knows and the data no longer has counts as missing."""
    test = parts.test
    absent = [spec.name for spec in model.scorer.features if spec.name not in test]
    if absent:
        test = test.assign(**dict.fromkeys(absent))
    return model.scorer.score(model.scorer.encode_columns(test))


def _choose(workspace: Workspace, judged: tuple[Judged, ...], parts: Parts, champion: Champion) -> Choice:
    from churn_assets.training.bootstrap import paired_difference

    simple, complex_ = judged
    settings = workspace.settings.training
    difference = paired_difference(
        parts.test["churned"],
        complex_.scores,
        simple.scores,
        parts.test["user_id"],
        seed=settings.seed,
        replicates=settings.bootstrap_replicates,
    )
    contenders = [
        Contender(version=one.version, pr_auc=one.evaluation.pr_auc.value, verdict=one.verdict) for one in judged
    ]
    choice = choose(contenders[0], contenders[1], difference=difference)
    damage = f" {champion.version} could not be compared with: {champion.damage}." if champion.damage else ""
    if choice.winner is None and champion.version is not None:
        return Choice(winner=None, why=f"{choice.why} {champion.version} goes on serving.{damage}")
    return Choice(winner=choice.winner, why=choice.why + damage)


def _settle(registry: Registry, judged: tuple[Judged, ...], choice: Choice, champion: Champion, actor: str) -> Decision:
    before = champion.version
    for one in judged:
        if not one.verdict.passed:
            registry.refuse(one.version, actor=actor, reasons=list(one.verdict.reasons), evidence=_evidence(one))
    if choice.winner is None:
        return Decision(before, before, promoted=False, why=choice.why, challengers=judged)
    winner = next(one for one in judged if one.version == choice.winner)
    if champion.model is not None and _is_twin(winner.model, champion.model):
        why = f"{winner.version} is {champion.version} again, byte for byte, which goes on serving."
        registry.refuse(winner.version, actor=actor, reasons=[why], evidence=_evidence(winner))
        return Decision(before, before, promoted=False, why=why, challengers=judged)
    registry.promote(winner.version, actor=actor, reason=choice.why, evidence=_evidence(winner), instead_of=before)
    return Decision(before, winner.version, promoted=winner.version != before, why=choice.why, challengers=judged)


def _is_twin(model: LoadedModel, champion: LoadedModel) -> bool:
    """Whether the same data gave the same file under another name: the alias could not tell the two apart."""
    return model.version != champion.version and model.manifest.artifact_sha256 == champion.manifest.artifact_sha256


def _evidence(judged: Judged) -> dict[str, Any]:
    return {
        "gates": [
            {"name": gate.name, "passed": gate.passed, "value": gate.value, "limit": gate.limit}
            for gate in judged.verdict.gates
        ],
        "metrics": judged.evaluation.metrics(),
    }


def _write_cards(workspace: Workspace, registry: Registry, decision: Decision, parts: Parts) -> None:
    for judged in decision.challengers:
        page = card_of(workspace, registry, judged, decision, parts)
        write_text(workspace.layout.model_card(judged.version), page)
