"""Channels: what arrives, what does not and why, how long it takes, and that no secret is ever shown."""

import logging
import sys
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from churn_assets.notify.channel import Channel, channels_of, send
from churn_assets.notify.messages import Message

MESSAGE = Message("drift_alert", "m", "churn: drift – alert", "Two lines,\nwith <b>signs</b> & *stars* \\n 日本")
DEAD = "json://127.0.0.1:1/T00SECRET/B00SECRET"
SECRET = "S3cretT0ken"  # noqa: S105 - of nothing


def through(*urls, seconds=5.0, footer=""):
    return send(channels_of([str(url) for url in urls]), MESSAGE, footer, limit_seconds=seconds)


def test_a_message_arrives_as_it_was_written(receive):
    receiver = receive()
    [sent] = through(receiver, footer="churn on here")
    assert sent.worked
    [received] = receiver.received
    assert received["title"] == MESSAGE.title
    assert received["message"] == f"{MESSAGE.body}\n\nchurn on here"
    assert received["type"] == "warning"


def test_every_channel_is_told_and_each_has_its_own_result(receive):
    good, other, refusing = receive(), receive(), receive(status=403)
    results = through(good, refusing, DEAD, "nonsense", other)
    assert [result.worked for result in results] == [True, False, False, False, True]
    assert results[1].problem == "refused: it answered 403"
    assert "could not be reached" in results[2].problem
    assert "not a URL that Apprise understands" in results[3].problem
    assert good.titles == other.titles == [MESSAGE.title]


def test_a_slow_channel_holds_nobody_up(receive):
    slow, quick = receive(seconds=3), receive()
    before = time.monotonic()
    late, prompt = through(slow, quick, seconds=1)
    assert time.monotonic() - before < 2.5
    assert late.problem == "no answer within 1 s"
    assert prompt.worked


def test_a_channel_that_breaks_is_a_failed_channel(receive, monkeypatch):
    monkeypatch.setattr("apprise.Apprise.notify", lambda *_a, **_k: 1 / 0)
    [sent] = through(receive())
    assert sent.problem == "failed with ZeroDivisionError"


def test_a_channel_that_ends_its_thread_is_a_failed_channel(receive, monkeypatch):
    monkeypatch.setattr("apprise.Apprise.notify", lambda *_a, **_k: sys.exit())
    [sent] = through(receive())
    assert sent.problem == "failed with SystemExit"


@pytest.mark.parametrize(
    "url", ["", " ", "nonsense", "://", "json://", "moon://base", f"slack://{SECRET}", "json://[::"]
)
def test_a_url_that_makes_no_sense_is_a_failed_channel_with_a_name(url):
    [sent] = through(url)
    assert not sent.worked
    assert sent.channel.startswith("channel 1 (")


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("json://user:pw@example.com:8080/SECRET?x=SECRET", "channel 3 (json at example.com)"),
        ("JSONS://Example.com/SECRET", "channel 3 (jsons at example.com)"),
        ("mailtos://me:SECRET@mail.example.com?to=a@example.com", "channel 3 (mailtos)"),
        ("mailtos://me:SECRET@mail.example.com", "channel 3 (mailtos at mail.example.com)"),
        ("mailto://me:SEC@RET.x/y@mail.example.com", "channel 3 (mailto)"),
        ("mailto://me:SECRET/y@mail.example.com", "channel 3 (mailto)"),
        ("https://hooks.slack.com/services/SECRET/SECRET", "channel 3 (https at hooks.slack.com)"),
        ("slack://SECRET/SECRET/SECRET", "channel 3 (slack)"),
        ("discord://SECRET/SECRET", "channel 3 (discord)"),
        ("SECRET", "channel 3 (no scheme)"),
        ("", "channel 3 (no scheme)"),
        ("json://[SECRET", "channel 3 (json)"),
    ],
)
def test_a_channel_is_named_without_its_secrets(url, name):
    channel = Channel(3, url)
    assert channel.name == name
    assert "SECRET" not in repr(channel)


@given(
    scheme=st.sampled_from(["json", "slack", "mailto", "mailtos", "discord", "https", "tgram", "ntfy"]),
    form=st.sampled_from(["{0}/x", "u:{0}@example.com", "example.com/{0}", "example.com?k={0}", "u:{0}/@h.example"]),
    more=st.text("/@:?#[]%", max_size=4),
)
def test_no_part_of_a_url_but_a_plain_host_is_named(scheme, form, more):
    url = f"{scheme}://{form.format(SECRET + more + SECRET)}"
    assert SECRET.lower() not in Channel(1, url).name.lower()


def test_nothing_secret_is_logged_whatever_happens(receive, caplog):
    refusing = receive(status=500)
    caplog.set_level(1)
    logging.getLogger("apprise").setLevel(1)
    through(
        refusing.url(SECRET, f"?+X-Key={SECRET}"),
        receive().url(SECRET),
        f"json://127.0.0.1:1/{SECRET}",
        f"slack://{SECRET}",
        f"moon://{SECRET}",
        SECRET,
    )
    assert SECRET not in caplog.text
    assert len(refusing.received) == 1
