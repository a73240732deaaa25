"""Follows the alias: a new model is loaded and verified aside, and taken up only when it is sound."""

from __future__ import annotations

import contextlib
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from churn_serving.errors import ArtifactError
from churn_serving.serving_model import prepare

if TYPE_CHECKING:
    from collections.abc import Callable

    from churn_serving.registry import Registry
    from churn_serving.serving_model import ServingModel

UNREAD = "unread"
"""In the place of a digest while the alias cannot even be read."""

LONGEST_WAIT = 60.0
"""Seconds between two tries at the same refused model."""

_log = logging.getLogger(__name__)


class ModelWatch:
    """Polls the alias, which works on any storage, and keeps the last good model.

    Args:
        registry: Where models are.
        on_failure: Called once for every refused try.
        monotonic: Gives seconds that never go backwards.
    """

    def __init__(
        self,
        registry: Registry,
        on_failure: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.current: ServingModel | None = None
        self.problem: str | None = None
        self._registry = registry
        self._on_failure = on_failure
        self._monotonic = monotonic
        self._refused = ""
        self._unsettled = ""
        self._wait = 0.0
        self._retry_at = 0.0

    def poll(self, *, at_once: bool = False) -> bool:
        """Look at the alias, and take its model up if it is a new and sound one. Never raises.

        Args:
            at_once: Try again now what was refused.

        Returns:
            Whether another model serves since.
        """
        digest = UNREAD
        try:
            digest = self._registry.alias.digest()
            if self.current and digest == self.current.artifact_sha256 and not self._has_moved_to_a_twin(self.current):
                self._accept()
                return False
            if digest == self._refused and self._monotonic() < self._retry_at and not at_once:
                return False
            return self._take_up()
        except (ArtifactError, OSError) as error:
            self._refuse(digest, str(error))
        except Exception as error:  # noqa: BLE001 - whatever a broken file brings about, the last good model goes on serving
            self._refuse(digest, f"{type(error).__name__}: {error}")
            _log.debug("the refused model in full", exc_info=True)
        return False

    def _has_moved_to_a_twin(self, current: ServingModel) -> bool:
        """Whether the same bytes serve as another version by now: a retrain on the same data makes such twins."""
        with contextlib.suppress(ArtifactError, OSError):  # no news, then: the bytes are those that serve
            production = self._registry.production()
            return production is not None and production.version != current.version
        return False

    def _take_up(self) -> bool:
        production = self._registry.production()
        if production is None:
            self._missing()
            return False
        model = prepare(self._registry, production.version, production.artifact_sha256, datetime.now(UTC))
        self.current = model
        self._accept()
        _log.info("serving %s", model.version)
        return True

    def _missing(self) -> None:
        problem = f"there is no production model yet ({self._registry.alias.path} is not there): run `churn seed`"
        if self.current:
            problem = f"{self._registry.alias.path} is gone; {self.current.version} goes on serving"
        if problem != self.problem:
            _log.warning(problem)
        self.problem = problem

    def _accept(self) -> None:
        self.problem = None
        self._refused = self._unsettled = ""
        self._wait = 0.0

    def _refuse(self, digest: str, message: str) -> None:
        """Keep the last good model. A file is judged when it looks the same twice: `cp` takes its time."""
        if digest not in {self._unsettled, self._refused}:
            self._unsettled = digest
            return
        if digest == UNREAD == self._refused and self._monotonic() < self._retry_at:
            return
        self._on_failure()
        if message != self.problem:
            _log.error("a model was refused: %s", message)
        self._wait = min(2 * self._wait or 1.0, LONGEST_WAIT) if digest == self._refused else 1.0
        self._retry_at = self._monotonic() + self._wait
        self.problem, self._refused = message, digest
