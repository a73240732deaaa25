"""What a model must show before it may serve, and which of two that did so is taken."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeGuard

if TYPE_CHECKING:
    from churn_assets.settings import GateSettings
    from churn_assets.training.bootstrap import Estimate
    from churn_assets.training.evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class Gate:
    """One requirement and how the model met it.

    Attributes:
        name: `pr_auc`, `pr_auc_lift`, `beats_recency`, `not_worse_than_champion`, `ece`, `golden_rows` or `latency`.
        passed: Whether it is met.
        value: What was measured; None if it could not be.
        limit: What it is measured against; None if there is nothing to compare with.
        why: One sentence.
    """

    name: str
    passed: bool
    value: float | None
    limit: float | None
    why: str


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """All gates of one model.

    Attributes:
        passed: Whether all gates are.
        gates: Each gate.
        reasons: Why it was refused: the sentence of each gate that failed.
    """

    passed: bool
    gates: tuple[Gate, ...]
    reasons: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Contender:
    """A judged model.

    Attributes:
        version: Its name.
        pr_auc: Its PR-AUC on the test; None if undefined.
        verdict: Its gates.
    """

    version: str
    pr_auc: float | None
    verdict: Verdict


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Who won.

    Attributes:
        winner: Version of the model to promote; None if none passed.
        why: One sentence.
    """

    winner: str | None
    why: str


def judge(
    challenger: Evaluation,
    *,
    champion: Estimate | None,
    golden_max_error: float,
    latency_us: float,
    settings: GateSettings,
) -> Verdict:
    """Hold a model against every gate; nothing is skipped after a failure, so that the card tells all.

    What could not be measured does not pass.

    Args:
        challenger: The model on the fresh holdout, recency alone beside it.
        champion: PR-AUC of the challenger minus the champion's, paired on that holdout; None without a champion.
        golden_max_error: Largest difference of a golden row's score before and after the round trip.
        latency_us: Time to score one row, in microseconds.
        settings: The limits.

    Returns:
        The verdict.
    """
    gates = (
        *_floors(challenger, settings),
        _beats_recency(challenger, settings),
        _not_worse(champion, settings.max_pr_auc_drop),
        _at_most("ece", "Expected calibration error", challenger.ece.value, settings.max_ece, ".4f"),
        _at_most("golden_rows", "Largest golden-row error", golden_max_error, settings.max_golden_error, ".1e"),
        _at_most("latency", "Time for one row in µs,", latency_us, settings.max_latency_us, ".1f"),
    )
    reasons = tuple(gate.why for gate in gates if not gate.passed)
    return Verdict(passed=not reasons, gates=gates, reasons=reasons)


def choose(simple: Contender, complex_: Contender, *, difference: Estimate) -> Choice:
    """Pick one of the two challengers among those that passed.

    The one with the higher PR-AUC wins, but if the complex one leads by no more than one standard error of the paired
    difference, that is a tie, and the simpler model wins it: it is easier to explain, steadier, and faster (the
    one-standard-error rule of Breiman, Friedman, Olshen and Stone, 1984).

    Args:
        simple: The logistic regression.
        complex_: The gradient boosting.
        difference: PR-AUC of `complex_` minus that of `simple`, paired.

    Returns:
        The choice.
    """
    passed = [contender for contender in (simple, complex_) if contender.verdict.passed]
    if not passed:
        return Choice(winner=None, why="No model passed all gates.")
    if len(passed) == 1:
        return Choice(winner=passed[0].version, why=f"{passed[0].version} is the only one that passed all gates.")
    if 0 < (difference.value or 0.0) <= _standard_error(difference):
        return Choice(winner=simple.version, why=f"A tie in PR-AUC, {_told(difference)}, which the simpler model wins.")
    winner, other = (complex_, simple) if (difference.value or 0.0) > 0 else (simple, complex_)
    why = f"{winner.version} has the higher PR-AUC ({_number(winner)} against {_number(other)} of {other.version})."
    return Choice(winner=winner.version, why=why)


def _standard_error(difference: Estimate) -> float:
    """From the width of the 95 % interval; 0 if there is none."""
    if difference.low is None or difference.high is None:
        return 0.0
    return (difference.high - difference.low) / (2 * 1.96)


def _floors(challenger: Evaluation, settings: GateSettings) -> list[Gate]:
    gates = []
    value = challenger.pr_auc.value
    if settings.min_pr_auc is not None:
        gates.append(_at_least("pr_auc", "PR-AUC", value, settings.min_pr_auc))
    if settings.min_pr_auc_lift is not None:
        lift = value / challenger.prevalence if value is not None else None
        gates.append(_at_least("pr_auc_lift", "PR-AUC over prevalence", lift, settings.min_pr_auc_lift))
    return gates


def _beats_recency(challenger: Evaluation, settings: GateSettings) -> Gate:
    if challenger.recency_pr_auc.value is None and challenger.pr_auc.value is not None:
        why = "The data cannot tell when somebody was last active, so there is nothing to compare with."
        return Gate(name="beats_recency", passed=True, value=None, limit=None, why=why)
    what = "Lead in PR-AUC over recency alone"
    return _at_least("beats_recency", what, challenger.gain_over_recency.value, settings.min_gain_over_recency)


def _not_worse(difference: Estimate | None, margin: float) -> Gate:
    """Refuse a drop of the point estimate beyond the margin.

    The other rule, to refuse only when even the upper end of the interval is below the margin, would let a real loss
    through whenever the holdout is small, and the champion has proven itself. To ask the lower end to be above the
    margin would keep an ageing champion for ever on a small holdout. So the point decides and the interval is told.
    """
    name = "not_worse_than_champion"
    if difference is None:
        return Gate(name=name, passed=True, value=None, limit=None, why="There is no production model to compare with.")
    value = difference.value
    if not _measured(value):
        why = "PR-AUC against the production model could not be measured."
        return Gate(name=name, passed=False, value=None, limit=-margin, why=why)
    passed = value >= -margin
    rule = f"a loss of up to {margin:.3f} is allowed" if passed else f"that is a loss beyond {margin:.3f}"
    why = f"PR-AUC against the production model: {_told(difference)}; {rule}."
    return Gate(name=name, passed=passed, value=value, limit=-margin, why=why)


def _at_least(name: str, what: str, value: float | None, limit: float) -> Gate:
    if not _measured(value):
        return _unmeasured(name, what, limit)
    passed = value >= limit
    why = f"{what} {value:.3f} is {'at least' if passed else 'below'} {limit:.3f}."
    return Gate(name=name, passed=passed, value=value, limit=limit, why=why)


def _at_most(name: str, what: str, value: float | None, limit: float, form: str) -> Gate:
    if not _measured(value):
        return _unmeasured(name, what, limit)
    passed = value <= limit
    why = f"{what} {value:{form}} is {'at most' if passed else 'above'} {limit:{form}}."
    return Gate(name=name, passed=passed, value=value, limit=limit, why=why)


def _unmeasured(name: str, what: str, limit: float) -> Gate:
    why = f"{what.rstrip(',')} could not be measured."
    return Gate(name=name, passed=False, value=None, limit=limit, why=why)


def _measured(value: float | None) -> TypeGuard[float]:
    return value is not None and math.isfinite(value)


def _told(difference: Estimate) -> str:
    interval = "" if difference.low is None else f" (95% interval {difference.low:+.3f} to {difference.high:+.3f})"
    return f"{difference.value or 0.0:+.3f}{interval}"


def _number(contender: Contender) -> str:
    return "–" if contender.pr_auc is None else f"{contender.pr_auc:.3f}"
