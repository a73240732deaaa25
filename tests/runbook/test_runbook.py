"""The runbook is true: what needs no cluster is run as it stands, block by block, on a fresh system."""

import re
import subprocess

import pytest
from procedures import RUNBOOK, System, blocks

BLOCKS = blocks()
RUN = [block for block in BLOCKS if block.kind == "bash"]
ORDER = [
    "Quick start: three paths",
    "Day 1: initial deployment",
    "Day 2: operations",
    "Common operations",
    "1. Update the model (manual retrain)",
    "2. Rollback model",
    "3. Scale the API",
    "4. Update the configuration",
    "5. Debug",
    "Troubleshooting",
    "Issue: API readiness probe fails",
    "Issue: seed job fails",
    "Issue: CronJob never runs",
    "Issue: drift check",
    "Issue: high API latency",
    "Production readiness checklist",
    "Summary",
    "Emergencies",
    "1. Total API outage",
    "2. Corrupted model",
    "3. Out of disk space",
    "Where each procedure went",
]


@pytest.fixture(scope="module")
def system(tmp_path_factory):
    """A fresh system; what is started on it ends with the tests."""
    found = System.fresh(tmp_path_factory.mktemp("fresh"))
    yield found
    found.close()


@pytest.mark.parametrize("block", RUN, ids=lambda block: block.name)
def test_the_block_runs_as_it_stands(system, block):
    code, printed = system.run_until(block, RUN)
    assert code == 0, f"{block.text}\n{printed}"


def test_sections_stand_in_the_order_of_the_one_that_it_replaces():
    text = RUNBOOK.read_text(encoding="utf-8")
    places = [text.index(f"# {heading}") for heading in ORDER]
    assert places == sorted(places)


def test_every_block_has_a_row_in_the_table_at_the_end_and_every_row_a_block():
    table = RUNBOOK.read_text(encoding="utf-8").rpartition("## Where each procedure went")[2]
    named = re.findall(r"`([a-z0-9-]+-(?:bash|docker|kubectl)-\d+)`", table)
    assert sorted(named) == sorted(block.name for block in BLOCKS)


@pytest.mark.parametrize("block", [block for block in BLOCKS if block.kind != "bash"], ids=lambda block: block.name)
def test_blocks_for_containers_and_clusters_are_shell(block):
    checked = subprocess.run(["bash", "-n", "-c", block.text], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr


def test_links_lead_somewhere():
    text = RUNBOOK.read_text(encoding="utf-8")
    headings = re.findall(r"^#{1,4} (.+)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors
