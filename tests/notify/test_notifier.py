"""Each thing is told once, through whatever works, and nothing that a channel does gets in the way."""

import json
import logging
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import date, timedelta

from churn_assets.notify import messages
from churn_assets.notify.memory import Memory
from churn_assets.notify.notifier import Notifier, notify_test

DAY = date(2026, 3, 10)
DEAD = "json://127.0.0.1:1/"
FAILED = messages.run_failed("daily_job", "run-1", "user_daily", "ValueError: no")
STALE = messages.stale(3, date(2026, 3, 6))


def test_a_run_that_failed_is_told_once_for_good(deployment, receive):
    receiver = receive()
    workspace = deployment(receiver)
    first = Notifier.of(workspace).tell(FAILED, today=DAY)
    assert (first.outcome, first.remembered) == ("sent", True)
    for days in (0, 1, 30, 399):
        again = Notifier.of(workspace).tell(FAILED, today=DAY + timedelta(days))
        assert again.outcome == "known"
        assert again.is_over
    assert receiver.titles == [FAILED.title]


def test_telling_what_is_known_changes_no_byte(deployment, receive):
    workspace = deployment(receive())
    notifier = Notifier.of(workspace)
    notifier.tell(FAILED, today=DAY)
    before = workspace.layout.told.read_bytes(), workspace.layout.told.stat().st_mtime_ns
    notifier.tell(FAILED, today=DAY)
    assert (workspace.layout.told.read_bytes(), workspace.layout.told.stat().st_mtime_ns) == before


def test_what_still_holds_is_told_again_after_repeat_days(deployment, receive):
    receiver = receive()
    notifier = Notifier.of(deployment(receiver, repeat_days=7))
    outcomes = [notifier.tell(STALE, today=DAY + timedelta(days)).outcome for days in range(15)]
    assert [day for day, outcome in enumerate(outcomes) if outcome == "sent"] == [0, 7, 14]
    assert len(receiver.received) == 3


def test_what_had_ended_and_comes_back_is_news(deployment, receive):
    receiver = receive()
    notifier = Notifier.of(deployment(receiver))
    notifier.settle("stale", messages.PREDICTIONS)
    notifier.tell(STALE, today=DAY)
    notifier.settle("stale", messages.PREDICTIONS)
    assert notifier.tell(STALE, today=DAY + timedelta(1)).outcome == "sent"


def test_the_message_says_which_deployment_speaks(deployment, receive):
    receiver = receive()
    workspace = deployment(receiver)
    Notifier.of(workspace).tell(FAILED, today=DAY)
    assert str(workspace.layout.artifacts) in receiver.received[0]["message"]


def test_one_channel_that_works_is_enough(deployment, receive, caplog):
    receiver = receive()
    notifier = Notifier.of(deployment(DEAD, receiver))
    told = notifier.tell(FAILED, today=DAY)
    assert told.outcome == "sent"
    assert [channel.worked for channel in told.channels] == [False, True]
    assert "channel 1 (json at 127.0.0.1)" in caplog.text
    assert notifier.tell(FAILED, today=DAY).outcome == "known"


def test_what_no_channel_took_is_tried_again_at_the_next_occasion(deployment, receive):
    receiver = receive(status=503)
    notifier = Notifier.of(deployment(receiver))
    failed = notifier.tell(FAILED, today=DAY)
    assert failed.outcome == "failed"
    assert not failed.is_over
    assert not failed.remembered
    receiver.status = 200
    assert notifier.tell(FAILED, today=DAY).outcome == "sent"


def test_without_channels_nothing_is_remembered_and_the_log_says_it(deployment, caplog):
    workspace = deployment()
    with caplog.at_level(logging.INFO):
        told = Notifier.of(workspace).tell(FAILED, today=DAY)
    assert (told.outcome, told.channels, told.is_over) == ("nobody", (), True)
    assert FAILED.title in caplog.text
    assert {record.levelno for record in caplog.records} == {logging.INFO}
    assert not workspace.layout.artifacts.exists()


def test_a_disk_that_takes_no_file_keeps_nobody_from_being_told(deployment, receive):
    receiver = receive()
    workspace = deployment(receiver)
    workspace.layout.artifacts.write_text("a file where the folder should be")
    told = Notifier.of(workspace).tell(FAILED, today=DAY)
    assert (told.outcome, told.remembered) == ("sent", False)
    assert receiver.titles == [FAILED.title]


def test_whoever_finds_another_process_telling_for_too_long_says_so(deployment, receive):
    notifier = Notifier.of(deployment(receive()))
    hurried = replace(notifier, memory=replace(notifier.memory, lock_seconds=0.05))
    with notifier.memory.held():
        told = hurried.tell(FAILED, today=DAY)
    assert told.outcome == "busy"
    assert not told.is_over


TELL = """
import sys
from datetime import date
from churn_assets.notify import messages
from churn_assets.notify.notifier import Notifier
from churn_assets.workspace import Workspace
notifier = Notifier.of(Workspace.load())
import apprise
print("ready", flush=True)
sys.stdin.readline()
for run in range(3):
    message = messages.run_failed("daily_job", f"run-{run}", None, "no")
    print(notifier.tell(message, today=date(2026, 3, 10)).outcome, flush=True)
"""


def test_two_processes_at_once_tell_once(deployment, receive, tmp_path):
    receiver = receive(seconds=0.05)
    workspace = deployment(receiver)
    environment = {
        "CHURN_PATHS__DATA": str(workspace.layout.data),
        "CHURN_PATHS__ARTIFACTS": str(workspace.layout.artifacts),
        "CHURN_NOTIFY__URLS": json.dumps([receiver.url()]),
    }
    pair = [
        subprocess.Popen(
            [sys.executable, "-c", TELL],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.stdout.readline() for process in pair] == ["ready\n", "ready\n"]
    for process in pair:
        process.stdin.write("go\n")
        process.stdin.flush()
    outcomes = [process.communicate(timeout=60)[0].split() for process in pair]
    assert [process.returncode for process in pair] == [0, 0]
    assert [sorted(both) for both in zip(*outcomes, strict=True)] == [["known", "sent"]] * 3
    assert len(receiver.received) == 3


def test_many_threads_at_once_tell_once(deployment, receive):
    receiver = receive()
    workspace = deployment(receiver)
    outcomes = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(Notifier.of(workspace).tell(FAILED, today=DAY).outcome))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["known", "known", "known", "sent"]
    assert len(receiver.received) == 1


def test_nothing_heavy_is_loaded_until_something_is_sent(deployment, tmp_path):
    workspace = deployment()
    code = (
        "import sys, churn_assets.notify.notifier, churn_assets.notify.messages; "
        "print([name for name in ('apprise', 'requests', 'dagster', 'pandas', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
    assert workspace.settings.notify.urls == []


def test_the_test_message_goes_through_each_channel_every_time(deployment, receive):
    receiver = receive()
    workspace = deployment(receiver, DEAD, receiver)
    for _ in range(2):
        results = notify_test(workspace)
        assert [result.worked for result in results] == [True, False, True]
        assert len({result.channel for result in results}) == 3
    assert receiver.titles == ["churn: test message"] * 4
    memory = Memory(workspace.layout.told)
    assert [memory.last("test", result.channel) is not None for result in results] == [True, False, True]


def test_the_test_of_nothing_is_empty(deployment):
    assert notify_test(deployment()) == []


def test_a_channel_that_never_answers_costs_no_more_than_the_limit(deployment, receive):
    notifier = replace(Notifier.of(deployment(receive(seconds=3))), limit_seconds=0.3)
    before = time.monotonic()
    told = notifier.tell(FAILED, today=DAY)
    assert told.outcome == "failed"
    assert time.monotonic() - before < 2


HURRIED = """
import sys
from dataclasses import replace
from datetime import date
from churn_assets.notify import messages
from churn_assets.notify.notifier import Notifier
from churn_assets.workspace import Workspace
notifier = replace(Notifier.of(Workspace.load()), limit_seconds=0.2)
print(notifier.tell(messages.test(), today=date(2026, 3, 10)).outcome)
"""


def test_no_process_waits_for_a_channel_when_it_ends(deployment, receive, tmp_path):
    layout = deployment().layout
    environment = {
        "CHURN_PATHS__ARTIFACTS": str(layout.artifacts),
        "CHURN_NOTIFY__URLS": json.dumps([receive(seconds=60).url(query="?rto=60")]),
    }
    done = subprocess.run(
        [sys.executable, "-c", HURRIED],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert done.stdout == "failed\n"
