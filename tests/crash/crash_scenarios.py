"""What is interrupted: the build of every asset, and every command that writes."""

import functools
import inspect
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import dagster as dg
import pyarrow as pa
from crash_world import DAY, TODAY
from typer.testing import CliRunner

from churn_assets.automation.claims import claim
from churn_assets.cli import app
from churn_assets.definitions import defs
from churn_assets.demo import start_demo, stop_demo
from churn_assets.notify import messages
from churn_assets.notify.memory import Memory
from churn_assets.resources import ChurnWorkspace, load_workspace
from churn_assets.scoring.build import write_top
from churn_assets.upkeep.forget import Forgetting, Surroundings
from churn_serving.key_file import KeyRing
from churn_serving.logs.line_writer import Lines
from churn_serving.logs.prediction_log import PREFIX
from churn_serving.logs.rotated_file import RotatedFile
from churn_serving.published import Published
from churn_serving.registry import Registry
from churn_serving.schemas import WorkerState
from churn_serving.worker_states import WorkerStates

ASSETS = {asset.key.to_user_string(): asset for asset in defs.assets}
HISTORY_STEPS = ("raw_events", "validated_events", "user_daily", "churn_labels")
NOW = datetime.combine(TODAY, datetime.min.time(), UTC)
LONG_AGO = NOW - timedelta(days=400)
DEMO_DAYS = 4
SHORT = 5
KEPT_DAYS = 5
FORGOTTEN = "u000058"
LINE = (
    b'{"id":"a/0","time":"2026-03-14T00:00:00.000Z","user_id":"u000058","model_version":"m","score":0.5,'
    b'"features":"0011223344556677","as_of_date":null,"source":"id"}\n'
)


def nothing():
    """Leave the world as it is."""


@dataclass(frozen=True)
class Scenario:
    """Something that writes.

    Attributes:
        name: What it is called in reports.
        run: Does it, in the deployment of this process; done again after a crash, it completes.
        prepare: Changes the world before; is never interrupted.
        assets: Assets that it builds.
        commands: Commands whose writes these are.
        is_restore: Whether everything is replaced: what was begun then has to be completed before a service is started.
        with_owners: Whether it is interrupted also while it says that it holds a lock: each lock in one scenario.
    """

    name: str
    run: Callable
    prepare: Callable = nothing
    assets: tuple = ()
    commands: tuple = ()
    is_restore: bool = False
    with_owners: bool = False


def build(name, first=None, last=None):
    """Run an asset's own function."""
    churn, keys = ChurnWorkspace(), {}
    if first is not None and (last is None or first == last):
        keys = {"partition_key": first.isoformat()}
    elif first is not None:
        keys = {"partition_key_range": dg.PartitionKeyRange(first.isoformat(), last.isoformat())}
    asset = ASSETS[name]
    if "context" not in inspect.signature(asset.op.compute_fn.decorated_fn).parameters:
        return asset(churn=churn)
    return asset(dg.build_asset_context(resources={"churn": churn}, instance=no_place(), **keys))


def decide():
    """Build `production_model` in a Dagster run, which it names as who promoted."""
    dg.materialize([ASSETS["production_model"]], instance=no_place(), resources={"churn": ChurnWorkspace()})


@functools.cache
def no_place():
    """An instance of Dagster in memory: made once, and inherited by forks."""
    return dg.DagsterInstance.ephemeral()


def churn(*words, codes=(0,)):
    """Run a command to its end."""
    result = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert result.exit_code in codes, f"`churn {' '.join(map(str, words))}`: {result.exit_code}\n{result.output}"


def layout():
    """Where the files of this process's deployment lie."""
    return load_workspace().layout


def root():
    """The folder of this process's world."""
    return layout().data.parent


def broken_user():
    """Let a user come twice, which breaks the contract."""
    table = layout().raw_users
    table.write(pa.concat_tables([table.read(), table.read().slice(0, 1)]))


def broken_event():
    """Let an event come twice."""
    table = layout().raw_events
    table.write(DAY, pa.concat_tables([table.read(DAY), table.read(DAY).slice(0, 1)]))


def other_version():
    """The oldest model, which serves no longer or never did."""
    registry = Registry(layout().artifacts)
    return min((summary.version for summary in registry.versions()), key=lambda name: name.rpartition("_")[2])


def changed_by_hand():
    """Put another model in the place of the one that serves, as `cp` does."""
    models = layout().models
    alias = models / "production_latest.joblib"
    alias.unlink()  # in this world alone: `cp` would write into the file of all
    shutil.copyfile(models / f"{other_version()}.joblib", alias)


def catch_up():
    """Write down what was changed by hand."""
    churn("models", "history", "--verify")


def refuse():
    """Write down that a model was not promoted."""
    Registry(layout().artifacts).refuse(other_version(), actor="test", reasons=["it is old"])


def new_key():
    """Make a key, unless there is one: who died before it was shown names the next one otherwise."""
    file = root() / "keys.yaml"
    if not file.exists() or "crm" not in {entry.name for entry in KeyRing.load(file).entries}:
        churn("keys", "new", "crm", "--file", file)


def another_key():
    """Let there be a key already."""
    churn("keys", "new", "ops", "--file", root() / "keys.yaml")


def remember():
    """Tell something, and have it settled later."""
    memory, message = Memory(layout().told), messages.promoted("a", "b", "because")
    with memory.held():
        memory.remember(message, TODAY)
        memory.forget("quality_fault", "feed")


def claim_run():
    """Say that a run is about to be asked for."""
    claim(layout().claims, "an alert", datetime.now(UTC))


def serve():
    """Log what was answered, and tell other workers what is served."""
    log = RotatedFile(Published(load_workspace().settings.paths).prediction_log, PREFIX, max_bytes=3 * len(LINE))
    for _ in range(3):
        log.write(Lines(LINE * 2, 2, NOW.timestamp()))
    log.close()
    state = WorkerState(pid=1, model_version="m", loaded_at=None, features_as_of=None, reload_problem=None)
    WorkerStates(root() / "workers").publish(state)


def logged(when=NOW):
    """Let the service have answered."""
    log = RotatedFile(Published(load_workspace().settings.paths).prediction_log, PREFIX, max_bytes=10**6)
    log.write(Lines(LINE * 2, 2, when.timestamp()))
    log.close()


def short_list():
    """Write the short list of a day."""
    write_top(load_workspace(), DAY, SHORT)


def rebuild():
    """Read shifted days anew, and all that is made of them."""
    for step in HISTORY_STEPS:
        build(step, DAY)


def shift():
    """Shift the newest days, and read them anew."""
    start_demo(load_workspace(), 0.9, DEMO_DAYS)
    rebuild()


def unshift():
    """Take the shift away, and read its days anew."""
    stop_demo(load_workspace())
    build("raw_events", DAY)


def clean():
    """Remove all that may go."""
    kinds = ("predictions", "features", "quarantine", "reports", "prediction-log", "runs")
    ages = [word for kind in kinds for word in (f"--{kind}-older-than", "1d")]
    churn("clean", *ages, "--raw-older-than", "6w", "--keep-models", 2)


def back_up():
    """Back everything up."""
    churn("backup", root() / "backups")


def bring_back():
    """Restore everything."""
    churn("restore", root() / "backups", "--force")


def thin():
    """Keep few days of what is read day by day: a world with fewer files. The service has answered in it."""
    place = layout()
    for folder in (place.raw_events.folder, place.events.folder, place.labels.folder, place.feed_profile(DAY).parent):
        for path in sorted(folder.glob("[0-9]*"))[:-KEPT_DAYS]:
            path.unlink()
    logged()


def lose_something():
    """Back everything up, and lose a part of it."""
    thin()
    back_up()
    shutil.rmtree(layout().predictions)
    (layout().metrics / "data_drift_latest.json").unlink()


def forget():
    """Erase a person, without the seconds in which running services would take it up."""
    Forgetting(load_workspace(), FORGOTTEN, Surroundings(pause=lambda _: None)).run(asked_by="test")


def look():
    """Run every command that changes nothing."""
    for words in LOOKING_WORDS:
        churn(*words, codes=(0, 1, 3))
    churn("models", "show", other_version())


LOOKING_WORDS = (("status",), ("notify-test",), ("doctor",), ("models", "list"), ("models", "verify"))


def _of_day(name, prepare=nothing):
    return Scenario(name, lambda: build(name, DAY), prepare, assets=(name,))


def _whole(name, prepare=nothing):
    return Scenario(name, lambda: build(name), prepare, assets=(name,))


FIRST = Scenario("the first production_model", decide, assets=("production_model",), with_owners=True)
"""Nothing serves yet."""

NEXT_DAY = (
    _whole("raw_users"),
    _of_day("raw_events"),
    _whole("validated_users", broken_user),
    _of_day("validated_events", broken_event),
    _of_day("user_daily"),
    _of_day("churn_labels"),
    _of_day("user_features"),
    _of_day("churn_predictions"),
    _of_day("score_proxy"),
    _of_day("performance_report"),
    _of_day("drift_report"),
    _whole("training_set"),
    _whole("baseline_model"),
    _whole("candidate_model"),
    Scenario("production_model", decide, assets=("production_model",)),
)
"""A day after the first run, each on what the ones before have built, while a model serves."""

AFTERWARDS = (
    Scenario("the shift of a demonstration", shift, commands=("demo-drift",)),
    Scenario("the end of a demonstration", unshift, shift, commands=("demo-drift",)),
    Scenario("models promote", lambda: churn("models", "promote", other_version()), commands=("models promote",)),
    Scenario("models rollback", lambda: churn("models", "rollback", other_version()), commands=("models rollback",)),
    Scenario("models history", catch_up, changed_by_hand, commands=("models history",)),
    Scenario("a refusal", refuse),
    Scenario("a new key", new_key, another_key, commands=("keys new",)),
    Scenario("the memory of what was told", remember),
    Scenario("a claim", claim_run),
    Scenario("the service", serve, commands=("serve",)),
    Scenario("a short list", short_list, commands=("score",)),
    Scenario("clean", clean, lambda: logged(LONG_AGO), commands=("clean",), with_owners=True),
    Scenario("backup", back_up, thin, commands=("backup",)),
    Scenario("restore", bring_back, lose_something, commands=("restore",), is_restore=True),
    Scenario("forget", forget, thin, commands=("forget",)),
)
"""What may be done at any time; each on the same world."""

SCENARIOS = (FIRST, *NEXT_DAY, *AFTERWARDS)

LOOKING = Scenario("what only looks", look, commands=(*(" ".join(words) for words in LOOKING_WORDS), "models show"))
"""Has no point: there is nothing to interrupt."""
