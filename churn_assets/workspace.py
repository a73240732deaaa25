"""One deployment: its settings, its files, its source, its features."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import TYPE_CHECKING

from churn_assets.features.catalogue import FeatureSet, feature_set
from churn_assets.ingest.source import Source, SourceError
from churn_assets.layout import Layout
from churn_assets.settings import Settings, load_settings
from churn_serving import atomic

if TYPE_CHECKING:
    from typing import Self


@dataclass(frozen=True)
class Workspace:
    """What every step needs to know of where it is.

    Attributes:
        settings: As configured.
    """

    settings: Settings

    @classmethod
    def load(cls) -> Self:
        """The deployment that this process is configured for.

        Raises:
            SettingsError: The configuration is refused.
        """
        return cls(load_settings())

    def opened_anew(self) -> Self:
        """The same deployment with its source as it is by now: what is kept of one lasts as long as its workspace."""
        return type(self)(self.settings)

    @cached_property
    def layout(self) -> Layout:
        """Where everything lies."""
        return Layout(self.settings.paths)

    @cached_property
    def source(self) -> Source:
        """Where raw data comes from.

        Raises:
            SourceError: It cannot be read as described.
        """
        if self.settings.source.kind == "files":
            from churn_assets.ingest.files import FilesSource

            return FilesSource(self.settings, self.layout, self._pinned())
        from churn_assets.ingest.generated import GeneratedSource

        return GeneratedSource(self.settings.source.synthetic, self.history_start, self.layout)

    @cached_property
    def features(self) -> FeatureSet:
        """What is computed from what the source provides."""
        return feature_set(self.settings, self.source.provided)

    @cached_property
    def history_start(self) -> date:
        """The first day of history: as it was at the first ingest, else as the settings or the source have it.

        Raises:
            SourceError: The source cannot be read.
        """
        return self._pinned() or self._found()

    def pin_history(self) -> None:
        """Keep the first day and the kind of source for good: partitions count from there.

        Raises:
            SourceError: This folder holds the history of another source.
        """
        first, kind = self.history_start, self.settings.source.kind
        state = self._state()
        if state and state["kind"] != kind:
            raise SourceError(
                f"{self.layout.data} holds the history of a {state['kind']} source, and the configuration says {kind}: "
                "set `paths.data` and `paths.artifacts` to folders of their own"
            )
        if state and state.get("world", self._world()) != self._world():
            raise SourceError(
                f"{self.layout.data} holds the history of another generated platform ({state['world']}, now "
                f"{self._world()}): set `paths.data` and `paths.artifacts` to folders of their own, or set it back"
            )
        if not state:
            content = {"first_day": first.isoformat(), "kind": kind, "world": self._world()}
            atomic.write_json(self.layout.source_state, content)

    def _world(self) -> str:
        """What must not change once there is a history; empty for sources that are not ours."""
        synthetic = self.settings.source.synthetic
        return f"seed {synthetic.seed}, {synthetic.users} users" if self.settings.source.kind == "synthetic" else ""

    def _pinned(self) -> date | None:
        state = self._state()
        return date.fromisoformat(state["first_day"]) if state else None

    def _found(self) -> date:
        source = self.settings.source
        if source.start_date:
            return source.start_date
        if source.kind == "synthetic":
            return self.settings.today - timedelta(days=source.synthetic.history_days)
        return self.source.first_day()

    def _state(self) -> dict[str, str]:
        try:
            state: dict[str, str] = json.loads(self.layout.source_state.read_text())
        except FileNotFoundError:
            return {}
        return state
