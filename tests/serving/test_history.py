"""The history cannot be changed quietly: not a byte of it, not its end, not all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import artifact_factory as make
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from churn_serving.history import History
    from churn_serving.registry import Registry


@pytest.mark.parametrize("line", [1, 3, 6])
@pytest.mark.usefixtures("abc")
def test_a_line_of_the_history_that_was_changed_is_found(registry: Registry, line: int) -> None:
    path = registry.root / "history.jsonl"
    lines = path.read_text().splitlines()
    assert registry.verify_history() is None
    for changed in (lines[line - 1].replace("2026", "2025", 1), "nonsense", None):
        kept = [*lines[: line - 1], *([changed] if changed else []), *lines[line:]]
        path.write_text("\n".join(kept) + "\n")
        assert registry.verify_history() == line


@pytest.mark.usefixtures("abc")
def test_the_last_line_of_the_history_is_sealed_as_well(registry: Registry) -> None:
    path = registry.root / "history.jsonl"
    head, last = path.read_text().rstrip("\n").rsplit("\n", 1)
    path.write_text(f"{head}\n{last.replace('because', 'despite')}\n")
    assert registry.verify_history() == len(registry.history())


@pytest.fixture(scope="module")
def sound_history(tmp_path_factory: pytest.TempPathFactory) -> History:
    """Return the history of two versions, a promotion, a refusal and a rollback."""
    registry = make.open_registry(tmp_path_factory.mktemp("sound"))
    for seed in range(2):
        registry.promote(make.register(registry, seed), actor="anna", reason="bessér", evidence={"ece": 1e-9, "n": [1]})
    registry.rollback(actor="run 1")
    assert registry.verify_history() is None
    return registry._history


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_every_single_byte_that_is_changed_shows(sound_history: History, data: st.DataObject) -> None:
    content = sound_history._path.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != content[place]) | st.sampled_from(b" \t\r\n"))
    try:
        sound_history._path.write_bytes(content[:place] + bytes([other]) + content[place + 1 :])
        assert (sound_history.first_bad_line() is None) == (other == content[place])
    finally:
        sound_history._path.write_bytes(content)


@pytest.mark.parametrize("cut", [1, 3])
@pytest.mark.usefixtures("abc")
def test_newest_lines_that_were_cut_off_show_for_ever(registry: Registry, cut: int) -> None:
    path = registry.root / "history.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-cut]))
    first = len(lines) - cut + 1
    assert registry.verify_history() == first
    registry.promote(make.register(registry, 7), actor="test", reason="life goes on")
    assert registry.verify_history() == first


@pytest.mark.usefixtures("abc")
def test_a_history_that_is_gone_shows(registry: Registry) -> None:
    (registry.root / "history.jsonl").unlink()
    assert registry.verify_history() == 1
    registry.reconcile()
    assert registry.verify_history() == 1
