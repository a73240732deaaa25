"""Keeps what answers up to date: looks for a new model, a new snapshot, new scores and new keys, every second or so."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from churn_serving.online.keyed_format import OnlineStoreError
from churn_serving.online.pointer import NothingPublishedError
from churn_serving.online.snapshot import Binding, Snapshot
from churn_serving.schemas import WorkerState
from churn_serving.serving import Serving
from churn_serving.snapshot_scores import SnapshotScores

if TYPE_CHECKING:
    from churn_serving.model_watch import ModelWatch
    from churn_serving.online.publication import Publication
    from churn_serving.online.scores import ScoreHistory
    from churn_serving.security import Keys
    from churn_serving.serving import Current
    from churn_serving.serving_model import ServingModel
    from churn_serving.worker_states import WorkerStates

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Followed:
    """What may change while the service runs.

    Attributes:
        models: Follows the alias.
        features: Follows the published snapshot.
        history: Follows the published scores.
        keys: Follows the API keys; None if none are asked for.
    """

    models: ModelWatch
    features: Publication
    history: ScoreHistory
    keys: Keys | None


class Watcher:
    """Looks, in a thread, and replaces what answers by one assignment.

    Args:
        current: What answers.
        followed: What is looked at.
        workers: Is told what this process serves.
        interval: Seconds between two looks.
    """

    def __init__(self, current: Current, followed: Followed, workers: WorkerStates, interval: float) -> None:
        self._current = current
        self._models = followed.models
        self._features = followed.features
        self._history = followed.history
        self._keys = followed.keys
        self._workers = workers
        self._interval = interval
        self._wake: asyncio.Event | None = None
        self._at_once = False
        self._reported: dict[str, str] = {}
        self._unusable: str | None = None
        self._mismatch: str | None = None
        self._told: WorkerState | None = None

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        self._wake = asyncio.Event()
        scores: SnapshotScores | None = None
        filling: asyncio.Task[None] | None = None
        while True:
            if self._current.serving.scores is not scores:
                scores = self._current.serving.scores
                if filling:
                    filling.cancel()
                filling = asyncio.create_task(scores.fill()) if scores else None
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._interval):
                    await self._wake.wait()
            self._wake.clear()
            await asyncio.to_thread(self.look)

    def look_now(self) -> None:
        """Have `run` look at once, also at what was refused before. For a signal handler of the event loop."""
        self._at_once = True
        if self._wake is not None:
            self._wake.set()

    def look(self) -> None:
        """Look once. Never raises: whatever is broken, what served goes on serving."""
        at_once, self._at_once = self._at_once, False
        try:
            self._models.poll(at_once=at_once)
            snapshot, snapshot_problem = self._snapshot()
            self._replace(self._models.current, snapshot, snapshot_problem)
            self._refresh_history()
            if self._keys is not None:
                self._keys.refresh(time.time())
        except Exception:  # noqa: BLE001 - a watcher that ends would leave the service stale without a word
            _log.exception("looking for news failed; what served goes on serving")

    def _snapshot(self) -> tuple[Snapshot | None, str | None]:
        """The newest snapshot that can be used, and what is wrong with a newer one."""
        before = self._current.serving.snapshot
        try:
            opened = self._features.poll()
        except NothingPublishedError as error:
            return before, str(error)
        except OnlineStoreError as error:
            self._report("features", str(error))
            return before, str(error)
        if opened is None:
            return before, self._unusable
        self._reported.pop("features", None)
        try:
            after, self._unusable = Snapshot.of(opened), None
        except OnlineStoreError as error:
            self._unusable = str(error)
            self._report("features", self._unusable)
            return before, self._unusable
        _log.info("features as of %s, %d users", after.as_of_date, after.rows)
        return after, None

    def _replace(self, model: ServingModel | None, snapshot: Snapshot | None, problem: str | None) -> None:
        before = self._current.serving
        binding, scores = before.binding, before.scores
        if model is not before.model or snapshot is not before.snapshot:
            binding, self._mismatch = self._bind(model, snapshot)
            scores = SnapshotScores(binding, model.scorer) if binding and model else None
        after = Serving(model, snapshot, binding, scores, self._models.problem, problem or self._mismatch)
        if after != before:
            self._current.serving = after
        self._tell(after)

    def _bind(self, model: ServingModel | None, snapshot: Snapshot | None) -> tuple[Binding | None, str | None]:
        if model is None or snapshot is None:
            return None, None
        try:
            return Binding(snapshot, model.scorer.features), None
        except OnlineStoreError as error:
            self._report("binding", str(error))
            return None, str(error)

    def _refresh_history(self) -> None:
        try:
            self._history.refresh()
            self._reported.pop("history", None)
        except NothingPublishedError:
            pass
        except OnlineStoreError as error:
            self._report("history", str(error))

    def _report(self, what: str, problem: str) -> None:
        if self._reported.get(what) != problem:
            _log.error("%s: %s", what, problem)
        self._reported[what] = problem

    def _tell(self, serving: Serving) -> None:
        model, snapshot = serving.model, serving.snapshot
        state = WorkerState(
            pid=os.getpid(),
            model_version=model.version if model else None,
            loaded_at=model.loaded_at if model else None,
            features_as_of=snapshot.as_of_date if snapshot else None,
            reload_problem=serving.model_problem,
        )
        if state != self._told:
            self._told = state
            self._workers.publish(state)
