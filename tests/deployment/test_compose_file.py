"""Compose: every service is hardened, bounded and asked for its health; nothing secret is written down."""

import re
import shutil
import subprocess
import tomllib

import pytest
import yaml
from docker_files import ROOT
from outside_programs import checker, lacking

FOLDER = ROOT / "deployment"
FILE = FOLDER / "compose.yaml"
COMPOSE = yaml.safe_load(FILE.read_text(encoding="utf-8"))
SERVICES = COMPOSE["services"]
ENDS = {"seed"}
SECRET = re.compile(r"PASSWORD|SECRET|TOKEN|KEY|CREDENTIAL")
WRITABLE = {"data", "artifacts", "dagster", "postgres", "prometheus", "alertmanager", "grafana"}


@pytest.fixture(params=sorted(SERVICES))
def service(request):
    return SERVICES[request.param]


def test_the_system_is_complete():
    assert SERVICES.keys() >= {
        *("postgres", "dagster-webserver", "dagster-daemon", "dagster-code", "churn-api"),
        *("prometheus", "alertmanager", "grafana"),
    }


def test_services_cannot_write_to_their_image_or_gain_rights(service):
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not service.keys() & {"privileged", "cap_add", "pid", "ipc", "network_mode", "devices"}
    assert str(service.get("user", "10001")) not in {"0", "root"}


def test_services_are_bounded(service):
    limits = service["deploy"]["resources"]["limits"]
    assert limits.keys() == {"cpus", "memory", "pids"}
    assert service["logging"]["options"].keys() == {"max-size", "max-file"}


def test_services_that_stay_are_asked_for_their_health():
    for name, service in SERVICES.items():
        check = service["healthcheck"]
        if name in ENDS:
            assert check == {"disable": True}
            assert service["restart"] == "no"
        else:
            assert check["test"][0] == "CMD", name
            assert "curl" not in check["test"]
            assert check.keys() >= {"interval", "timeout", "retries", "start_period"}


def test_images_are_pinned(service):
    name, _, tag = service["image"].partition(":")
    assert re.fullmatch(r"\$\{VER:-\d+\.\d+\.\d+\}|v?\d+\.\d+(\.\d+)?(-bookworm)?", tag), service["image"]
    assert name.startswith("techitfactory/") == ("${VER" in tag)


def test_own_images_are_of_this_version():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert set(re.findall(r"\$\{VER:-(.+?)\}", FILE.read_text(encoding="utf-8"))) == {version}


def test_ports_are_published_to_this_machine_only_and_once():
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert len({port.split(":")[1] for port in published}) == len(published)


def test_nothing_secret_is_written_down(service):
    for name in service.get("environment", {}):
        assert not SECRET.search(name) or name.endswith("_FILE"), name
    assert "env_file" not in service


def test_secrets_are_files_that_git_does_not_know():
    for secret in COMPOSE["secrets"].values():
        assert secret.keys() == {"file"}
        path = (FOLDER / secret["file"]).relative_to(ROOT)
        asked = subprocess.run(["git", "check-ignore", "-q", path], cwd=ROOT, check=False, timeout=30)
        assert asked.returncode == 0, path
    wanted = {
        name if isinstance(name, str) else name["source"]
        for one in SERVICES.values()
        for name in one.get("secrets", [])
    }
    assert wanted == COMPOSE["secrets"].keys()


@pytest.fixture
def secrets(tmp_path):
    """A folder without secrets, and the command that makes them."""
    shutil.copytree(FOLDER / "compose", tmp_path / "compose", ignore=shutil.ignore_patterns("*.txt", "api_keys.yaml"))
    return tmp_path / "compose" / "secrets"


def make(secrets):
    command = ["sh", str(secrets.parent / "make-secrets")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return {path.name: path.read_bytes() for path in secrets.iterdir()}


def test_one_command_makes_every_secret_and_keeps_what_is_there(secrets):
    made = make(secrets)
    assert {(FOLDER / one["file"]).name for one in COMPOSE["secrets"].values()} <= made.keys()
    texts = [content for name, content in made.items() if name.endswith(".txt")]
    assert len(set(texts)) == len(texts)
    assert make(secrets) == made


def test_secrets_are_for_containers_to_read_and_for_no_other_user_to_reach(secrets):
    make(secrets)
    assert secrets.stat().st_mode & 0o777 == 0o700
    modes = {path.name: path.stat().st_mode & 0o777 for path in secrets.glob("*.*")}
    assert modes["postgres_password.txt"] == modes["api_keys.yaml"] == 0o644
    assert modes["api_key.txt"] == 0o600


def test_the_service_takes_the_key_that_was_made(secrets):
    from churn_serving.security import Caller, Keys

    key = make(secrets)["api_key.txt"]
    assert isinstance(Keys(secrets / "api_keys.yaml").check(None, key, "predict"), Caller)


def test_what_is_mounted_is_there_and_nothing_but_volumes_can_be_written_to(service):
    for mount in service.get("volumes", []):
        source, _, rest = mount.partition(":")
        if source.startswith("."):
            assert (FOLDER / source).exists(), source
            assert rest.endswith(":ro"), mount
        else:
            assert source in WRITABLE
            assert source in COMPOSE["volumes"]


def test_what_starts_after_something_waits_until_it_is_well():
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            wanted = "service_completed_successfully" if other in ENDS else "service_healthy"
            assert how == {"condition": wanted}, (name, other)


def test_the_database_is_reached_by_dagster_alone():
    inside = {name for name, service in SERVICES.items() if "database" in service.get("networks", [])}
    assert COMPOSE["networks"]["database"]["internal"] is True
    assert inside == {"postgres", "seed", "dagster-code", "dagster-webserver", "dagster-daemon"}
    assert SERVICES["postgres"]["networks"] == ["database"]
    assert "ports" not in SERVICES["postgres"]


def test_requests_finish_before_the_service_is_killed():
    from churn_serving.settings import ServingSettings

    grace = int(SERVICES["churn-api"]["stop_grace_period"].removesuffix("s"))
    assert grace > ServingSettings().shutdown_seconds


def test_dagster_is_told_the_same_as_on_a_laptop_but_for_its_database():
    laptop = yaml.safe_load((ROOT / "dagster.yaml").read_text(encoding="utf-8"))
    here = yaml.safe_load((FOLDER / "compose" / "dagster.yaml").read_text(encoding="utf-8"))
    storage = here.pop("storage")["postgres"]["postgres_db"]
    del laptop["event_log_storage"]
    assert here == laptop
    environment = SERVICES["dagster-daemon"]["environment"]
    for key in ("hostname", "db_name", "username"):
        assert storage[key]["env"] in environment
    assert f"{storage['password']['env']}_FILE" in environment


def test_dagster_opens_that_instance(tmp_path, monkeypatch):
    from dagster._core.instance.config import dagster_instance_config

    shutil.copy2(FOLDER / "compose" / "dagster.yaml", tmp_path)
    for name in ("HOST", "DB", "USER", "PASSWORD"):
        monkeypatch.setenv(f"DAGSTER_PG_{name}", name.lower())
    config, _ = dagster_instance_config(str(tmp_path))
    assert config["storage"]["postgres"]["postgres_db"]["hostname"] == {"env": "DAGSTER_PG_HOST"}


def test_the_code_location_is_where_the_workspace_looks_for_it():
    (entry,) = yaml.safe_load((FOLDER / "compose" / "workspace.yaml").read_text(encoding="utf-8"))["load_from"]
    laptop = yaml.safe_load((ROOT / "workspace.yaml").read_text(encoding="utf-8"))["load_from"][0]["python_module"]
    server, command = entry["grpc_server"], SERVICES["dagster-code"]["command"]
    assert server["host"] in SERVICES
    assert command[command.index("-p") + 1] == str(server["port"])
    assert command[command.index("-m") + 1] == laptop["module_name"]
    assert command[command.index("--location-name") + 1] == server["location_name"] == laptop["location_name"]


def test_prometheus_finds_its_targets_among_the_services():
    scraped = yaml.safe_load((FOLDER / "monitoring" / "prometheus" / "prometheus.yml").read_text(encoding="utf-8"))
    names = {
        name for job in scraped["scrape_configs"] for found in job.get("dns_sd_configs", []) for name in found["names"]
    }
    assert names
    assert names <= SERVICES.keys()


def test_compose_accepts_the_file():
    asked = [*compose(), "-f", FILE, "config", "-q"]
    done = subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def compose():
    """Compose 2 or newer: Docker's plug-in, or the program; without it the test is skipped."""
    if shutil.which("docker") and is_new_enough(["docker", "compose"]):
        return ["docker", "compose"]
    alone = [checker("docker-compose")]
    return alone if is_new_enough(alone) else lacking(f"{alone[0]} is of version 1: make checks-tools")


def is_new_enough(command):
    asked = subprocess.run([*command, "version", "--short"], capture_output=True, text=True, timeout=60, check=False)
    major = re.match(r"v?(\d+)\.", asked.stdout)
    return asked.returncode == 0 and major is not None and int(major[1]) >= 2
