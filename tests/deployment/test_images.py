"""The images: what they are made of, what they run as, and the runbook's second path on a real engine."""

import contextlib
import http.server
import json
import re
import subprocess
import sys
import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor

import docker_engine
import pytest
from docker_engine import PathTwo, docker, health, inspect
from docker_files import FOLDER, ROOT, Context, exec_form, final_stage, named, path_2, read_dockerfile
from outside_programs import checker

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
BASE = "python:3.11-slim-bookworm"
NOT_IN_THE_SERVICE = ("churn_assets", "dagster", "evidently", "pandas", "sklearn", "pyarrow", "scipy", "pip")
MEGABYTE = 1_000_000


@pytest.fixture(params=["api", "ml"])
def dockerfile(request):
    return read_dockerfile(FOLDER / f"Dockerfile.{request.param}")


def test_every_stage_begins_with_the_one_pinned_base(dockerfile):
    assert [text.split()[0] for text in named(dockerfile, "FROM")] == [BASE, BASE]


def test_the_image_runs_as_a_numbered_user_who_is_not_root(dockerfile):
    assert named(final_stage(dockerfile), "USER") == ["10001:10001"]


def test_commands_need_no_shell_so_that_signals_arrive(dockerfile):
    image = final_stage(dockerfile)
    for text in [*named(image, "ENTRYPOINT"), *named(image, "CMD")]:
        assert exec_form(text), text
    assert named(image, "STOPSIGNAL") == ["SIGTERM"]


def test_health_is_asked_without_curl():
    image = final_stage(read_dockerfile(FOLDER / "Dockerfile.api"))
    (text,) = named(image, "HEALTHCHECK")
    assert exec_form("CMD" + text.split("CMD", 1)[1])[:3] == ["python", "/app/bin/healthcheck.py", "http"]
    (text,) = named(final_stage(read_dockerfile(FOLDER / "Dockerfile.ml")), "HEALTHCHECK")
    assert text == "NONE"  # three services, asked in three ways


def test_the_version_is_a_build_argument_that_label_and_environment_show(dockerfile):
    image = final_stage(dockerfile)
    assert [text.split("=")[0] for text in named(image, "ARG")] == ["VER"]
    assert 'org.opencontainers.image.version="$VER"' in named(image, "LABEL")[0]
    assert "CHURN_IMAGE_VERSION=$VER" in named(image, "ENV")[0]


def test_packages_are_those_of_the_lock_files(dockerfile):
    installing = [text for text in named(dockerfile, "RUN") if re.search(r"\bpip\b.* install\b|\bpip install\b", text)]
    commands = [part for text in installing for part in text.split("&&") if " install " in part and "pip" in part]
    assert len(commands) == 3
    assert all("--require-hashes" in part or "--no-index" in part for part in commands)
    assert not named(final_stage(dockerfile), "RUN")[1:]  # the second stage installs nothing


def test_what_builds_the_wheel_is_as_the_lock_has_it():
    lines = [line for line in (FOLDER / "build.txt").read_text(encoding="utf-8").splitlines() if line[:1] != "#"]
    assert "\n".join(lines) in (ROOT / "requirements" / "pipeline.txt").read_text(encoding="utf-8")
    assert lines[0].startswith("setuptools==")


def test_nothing_secret_is_in_the_images(dockerfile):
    for text in [*named(dockerfile, "ARG"), *named(dockerfile, "ENV")]:
        assert not re.search(r"PASSWORD|SECRET|TOKEN|_KEY\b", text, re.IGNORECASE)


def test_what_the_images_copy_is_sent_to_the_engine_and_is_there(dockerfile):
    context = Context.read()
    for one in dockerfile:
        if one.name == "COPY" and "--from=" not in one.text:
            for source in one.words[:-1]:
                assert (ROOT / source).exists(), source
                assert context.sends(source), source


@pytest.mark.parametrize(
    "path",
    [
        "data/raw/events/day=2026-11-22.csv",
        "artifacts/models/production_latest.joblib",
        ".venv/bin/python",
        ".git/config",
        ".dagster/history/runs.db",
        "backups/manifest.json",
        "config/config.yaml",
        "keys.yaml",
        ".env",
        "deployment/compose/secrets/postgres_password.txt",
        "tests/builders.py",
        "churn_assets/__pycache__/cli.cpython-311.pyc",
    ],
)
def test_data_models_secrets_and_history_are_not(path):
    assert not Context.read().sends(path)


DOCKERFILES = ("docker/Dockerfile.api", "docker/Dockerfile.ml")
SCRIPTS = ("docker/entrypoint", "compose/make-secrets")


@pytest.mark.parametrize(("linter", "files"), [("hadolint", DOCKERFILES), ("shellcheck", SCRIPTS)])
def test_linters_find_nothing(linter, files):
    paths = [str(ROOT / "deployment" / name) for name in files]
    done = subprocess.run([checker(linter), *paths], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout


def healthcheck(*arguments, **environment):
    return subprocess.run(
        [sys.executable, str(FOLDER / "healthcheck.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", **environment},
    )


@contextlib.contextmanager
def web_server(status):
    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Answer) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/ready"
        server.shutdown()


@pytest.mark.parametrize(("status", "code"), [(200, 0), (503, 1)])
def test_a_web_server_is_well_if_it_says_so(status, code):
    with web_server(status) as url:
        # A proxy of the environment is not asked: the service is in this container.
        assert healthcheck("http", url, http_proxy="http://127.0.0.1:9").returncode == code


@pytest.mark.parametrize(("status", "code"), [("SERVING", 0), ("NOT_SERVING", 1)])
def test_a_code_location_is_well_if_it_serves(status, code):
    grpc = pytest.importorskip("grpc")
    from grpc_health.v1 import health as servicer
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    states = servicer.HealthServicer()
    states.set("DagsterApi", health_pb2.HealthCheckResponse.ServingStatus.Value(status))
    server = grpc.server(ThreadPoolExecutor(1))
    health_pb2_grpc.add_HealthServicer_to_server(states, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        assert healthcheck("grpc", str(port)).returncode == code
    finally:
        server.stop(None)


@pytest.mark.parametrize(
    "asked", [("http", "http://127.0.0.1:9/ready"), ("grpc", "9"), ("daemon", "300")], ids=lambda asked: asked[0]
)
def test_what_does_not_answer_is_not_well_and_one_line_says_why(asked):
    where = {"DAGSTER_PG_HOST": "127.0.0.1", "DAGSTER_PG_USER": "d", "DAGSTER_PG_PASSWORD": "p", "DAGSTER_PG_DB": "d"}
    done = healthcheck(*asked, **where, PGPORT="9")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.strip()


# What follows needs an engine.


@pytest.fixture(scope="module")
def walked(tmp_path_factory):
    if reason := docker_engine.missing():
        pytest.skip(reason)
    path = PathTwo.prepare(tmp_path_factory.mktemp("path_2"))
    try:
        path.walk()
        yield path
    finally:
        path.close()


needs_an_engine = [pytest.mark.slow, pytest.mark.timeout(docker_engine.PATIENCE)]


walked_first = [*needs_an_engine, pytest.mark.usefixtures("walked")]


class TestPathTwo:
    """The runbook's lines as they stand, in hardened containers, in folders that belong to somebody else."""

    pytestmark = walked_first

    def test_path_two_publishes_to_this_machine_only_and_says_who_runs_it(self):
        running = [line for line in path_2().replace("\\\n", " ").splitlines() if line.startswith("docker run")]
        assert len(running) == 2
        assert all('--user "$(id -u):$(id -g)"' in line for line in running)
        assert "-p 127.0.0.1:8000:8000" in running[1]

    def test_it_builds_seeds_and_serves(self, walked):
        assert walked.code == 0, walked.output
        assert (walked.folder / "artifacts" / "models" / "production_latest.joblib").is_file()
        assert len(walked.containers) == 1

    def test_files_belong_to_the_folders_owner(self, walked):
        made = [path for name in ("data", "artifacts") for path in (walked.folder / name).rglob("*")]
        assert {path.stat().st_uid for path in made} == {walked.owner}

    def test_the_service_is_well_and_answers(self, walked):
        (container,) = walked.containers
        assert health(container) == "healthy"
        newest = (walked.folder / "data" / "predictions" / "batch_predictions_latest.csv").read_text(encoding="utf-8")
        user = newest.splitlines()[1].split(",")[0].strip('"')
        answer = json.loads(ask(container, "/predict", {"user_id": user}))
        assert 0 < answer["churn_risk"] < 1
        assert "no configuration and no API keys" in docker("logs", container).stderr

    def test_nothing_of_the_pipeline_is_in_the_service(self, walked):
        look = "import importlib.util, sys; print([n for n in sys.argv[1:] if importlib.util.find_spec(n)])"
        (container,) = walked.containers
        python = ["/opt/venv/bin/python", "-I", "-c", look]
        assert docker("exec", container, *python, *NOT_IN_THE_SERVICE).stdout == "[]\n"
        assert (
            docker("exec", container, *python, "churn_serving", "litestar").stdout == "['churn_serving', 'litestar']\n"
        )
        assert docker("exec", container, "which", "churn", "gcc", "make", check=False).stdout == ""

    def test_the_service_adds_less_than_200_mb_to_its_base(self, walked):
        image = inspect(inspect(walked.containers[0])["Image"])
        assert image["Size"] - inspect(BASE)["Size"] < 200 * MEGABYTE
        assert image["Config"]["Labels"]["org.opencontainers.image.version"] == VERSION

    def test_it_stops_at_once_and_well(self, walked):
        (container,) = walked.containers
        waiting = subprocess.Popen(["docker", "wait", container], stdout=subprocess.PIPE, text=True)
        docker("stop", container)
        assert waiting.communicate(timeout=60)[0].strip() == "0"


@pytest.fixture(scope="module")
def image(walked):
    """Names of the two images, which are built."""
    assert walked.code == 0, walked.output
    return {name: f"techitfactory/churn-{name}:{VERSION}" for name in ("api", "ml")}


@pytest.fixture
def mount(tmp_path):
    """Options that mount a folder of this user, which others may read."""
    tmp_path.chmod(0o755)
    return lambda target: ["--volume", f"{tmp_path}:{target}"]


class TestEntrypoint:
    """What it says when it cannot go on."""

    pytestmark = needs_an_engine

    def test_a_folder_of_somebody_else_is_named_with_the_way_to_mend_it(self, image, mount, tmp_path):
        owner = tmp_path.stat().st_uid
        done = docker("run", "--rm", *mount("/app/data"), image["ml"], "churn", "seed", check=False)
        assert done.returncode == 1
        mend = "sudo chown -R 10001:10001 data" if owner == 0 else f"docker run --user {owner}:{tmp_path.stat().st_gid}"
        assert mend in done.stderr

    def test_a_configuration_of_another_name_is_never_a_silent_default(self, image, mount, tmp_path):
        (tmp_path / "settings.yml").write_text("scoring: {top_k: 3}\n", encoding="utf-8")
        done = docker("run", "--rm", *mount("/app/config"), image["api"], check=False)
        assert done.returncode == 1
        assert "settings.yml" in done.stderr

    def test_with_a_configuration_openness_must_be_said_there(self, image, mount, tmp_path):
        (tmp_path / "config.yaml").write_text("scoring: {top_k: 3}\n", encoding="utf-8")
        done = docker("run", "--rm", *mount("/app/config"), image["api"], check=False)
        assert done.returncode == 1
        assert "without API keys" in done.stderr
        assert "serving.api_keys_file" in done.stderr

    def test_any_uid_may_run_a_command(self, image):
        done = docker("run", "--rm", "--user", "54321:54321", *docker_engine.HARDENED, image["ml"], "churn", "--help")
        assert "seed" in done.stdout

    def test_a_secret_that_cannot_be_read_is_named(self, image):
        asked = ["--env", "DAGSTER_PG_PASSWORD_FILE=/run/secrets/none", image["ml"], "churn", "--help"]
        done = docker("run", "--rm", *asked, check=False)
        assert done.returncode == 1
        assert "/run/secrets/none" in done.stderr


QUESTION = """
import sys, urllib.request
request = urllib.request.Request(sys.argv[1], sys.argv[2].encode(), {"Content-Type": "application/json"})
print(urllib.request.urlopen(request, timeout=20).read().decode())
"""


def ask(container, path, body):
    """Send a request from inside the container; return the answer's text."""
    url = f"http://127.0.0.1:8000{path}"
    return docker("exec", container, "python", "-c", QUESTION, url, json.dumps(body)).stdout
