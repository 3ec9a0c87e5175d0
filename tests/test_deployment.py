"""The files in `deploy`, and their page: commands and settings exist, names fit together."""

import re
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from configparser import RawConfigParser
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from django.core.management import load_command_class
from gunicorn.config import Config

from example_project.embedded_redis import EmbeddedRedis
from tests.cluster import started_node
from tests.guides.pages import DOCS, blocks
from tests.test_embedded_redis import client_of

ROOT: Final = DOCS.parent
DEPLOY: Final = ROOT / "deploy"
PAGE: Final = (DOCS / "deployment.md").read_text()
FILES: Final = sorted(path for path in DEPLOY.rglob("*") if path.is_file())
TOPOLOGIES: Final = ("redis", "cluster", "sentinel")


def compose(name: str) -> dict[str, Any]:
    """One of the Compose files, as Compose gives it to a container."""
    text = (DEPLOY / "compose" / f"{name}.yaml").read_text()
    return dict(yaml.safe_load(text.replace("$$", "$")))


def unit(name: str) -> RawConfigParser:
    parser = RawConfigParser(comment_prefixes="#")
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(DEPLOY / "systemd" / name)
    return parser


def pods() -> tuple[dict[str, Any], dict[str, Any]]:
    """The Deployment and the PodDisruptionBudget."""
    deployment, budget = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    return deployment, budget


def texts(value: object) -> Iterator[str]:
    """Each command line in a document."""
    if isinstance(value, Mapping):
        for each in value.values():
            yield from texts(each)
    elif isinstance(value, list):
        yield " ".join(map(str, value))
        for each in value:
            yield from texts(each)
    elif isinstance(value, str):
        yield value


def command_lines() -> Iterator[str]:
    for path in FILES:
        if path.suffix == ".yaml":
            for document in yaml.safe_load_all(path.read_text()):
                yield from texts(document)
        else:
            yield unit(path.name)["Service"]["ExecStart"]


def arguments(settings: Mapping[str, str]) -> list[str]:
    return [word for name, value in settings.items() for word in (f"--{name}", value)]


def settings_of(service: Mapping[str, Any]) -> dict[str, str]:
    """The options on the command line of a server."""
    program, *options = service["command"]
    assert program == "redis-server"
    return dict(option.removeprefix("--").split(" ", 1) for option in options)


def written(service: Mapping[str, Any], folder: Path, **environment: str) -> list[tuple[str, str]]:
    """The lines of the configuration that a service writes before it starts the server."""
    script, _, server = service["command"][-1].partition("exec ")
    name = server.split()[1]
    subprocess.run(["sh", "-ec", script], cwd=folder, env=environment, check=True)
    lines = (folder / name).read_text().splitlines()
    return [(name, value) for name, _, value in (line.partition(" ") for line in lines) if name]


def is_in_force(server: EmbeddedRedis, settings: Mapping[str, str]) -> bool:
    with client_of(server) as client:
        found = {name: client.config_get(name).get(name) for name in settings}
    return found == {**settings, "maxmemory": str(1024**3)}


def test_page_links_each_file() -> None:
    links = {(DOCS / link).resolve() for link in re.findall(r"\]\((\.\./deploy/[^)]+)\)", PAGE)}
    assert links == {*FILES}


def test_management_commands_and_their_options_exist() -> None:
    found = {line.partition("manage.py ")[2] for line in command_lines() if "manage.py " in line}
    assert found == {"drain_buckets --watch", "show_buckets"}
    for line in found:
        name, *arguments = shlex.split(line)
        command = load_command_class("django_jsonbuffer", name)
        command.create_parser("manage.py", name).parse_args(arguments)


def test_gunicorn_knows_its_options() -> None:
    environment = unit("shop-web.service")["Service"]["Environment"].strip('"')
    options = environment.removeprefix("GUNICORN_CMD_ARGS=")
    in_compose = compose("site")["services"]["web"]["environment"]["GUNICORN_CMD_ARGS"]
    assert in_compose.replace("0.0.0.0", "127.0.0.1") == options
    Config().parser().parse_args(shlex.split(options))


def test_every_stop_waits_for_the_same_time() -> None:
    deployment, _ = pods()
    times = {
        unit("shop-worker@.service")["Service"]["TimeoutStopSec"],
        str(deployment["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]),
        compose("site")["services"]["worker"]["stop_grace_period"].removesuffix("s"),
    }
    assert times == {"330"}
    assert "The files have 330 seconds." in " ".join(PAGE.split())


class TestSystemd:
    def test_units_are_hardened_alike(self) -> None:
        web, worker = unit("shop-web.service")["Service"], unit("shop-worker@.service")["Service"]
        own = {"Type", "Environment", "ExecStart", "ExecReload", "KillMode", "TimeoutStopSec"}
        same = {name: value for name, value in web.items() if name not in own}
        assert same.items() <= worker.items()
        assert {*worker} - {*same} == {"ExecStart", "TimeoutStopSec", "SuccessExitStatus"}


class TestKubernetes:
    def test_names_fit_together(self) -> None:
        deployment, budget = pods()
        template = deployment["spec"]["template"]
        labels = template["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels
        assert budget["spec"]["selector"]["matchLabels"] == labels
        [container] = template["spec"]["containers"]
        [port] = container["ports"]
        assert container["livenessProbe"]["httpGet"]["port"] == port["name"]
        assert {"name": "METRICS_PORT", "value": str(port["containerPort"])} in container["env"]
        mounts = {mount["name"] for mount in container["volumeMounts"]}
        assert mounts == {volume["name"] for volume in template["spec"]["volumes"]}


class TestCompose:
    @pytest.mark.parametrize("name", TOPOLOGIES)
    def test_names_fit_together(self, name: str) -> None:
        document = compose(name)
        services, site = document["services"], compose("site")["services"]
        assert site.keys() <= services.keys()
        for service in services.values():
            assert service.get("depends_on", {}).keys() <= services.keys()
            mounts = {volume.partition(":")[0] for volume in service.get("volumes", [])}
            assert mounts <= document["volumes"].keys()
        addresses = re.findall(r"ipv4_address: (.*)", yaml.safe_dump(services))
        assert len(addresses) == len({*addresses})

    def test_redis_accepts_its_settings(self) -> None:
        settings = settings_of(compose("redis")["services"]["redis"])
        with EmbeddedRedis(*arguments(settings)) as server:
            assert is_in_force(server, settings)

    def test_node_of_the_cluster_accepts_its_settings(self) -> None:
        settings = settings_of(compose("cluster")["services"]["redis-1"])
        node = started_node(*arguments(settings))
        try:
            assert is_in_force(node, settings)
        finally:
            node.stop()

    def test_cluster_is_created_from_all_its_nodes(self) -> None:
        services = compose("cluster")["services"]
        created = re.findall(r"[\d.]+(?=:6379)", services["cluster"]["command"][-1])
        nodes = [service for service in services.values() if "networks" in service]
        assert created == [node["networks"]["default"]["ipv4_address"] for node in nodes]
        assert len(created) == 6

    def test_server_behind_sentinel_accepts_its_settings(self, tmp_path: Path) -> None:
        lines = written(compose("sentinel")["services"]["redis-1"], tmp_path)
        settings = dict(lines)
        with EmbeddedRedis(*arguments(settings)) as server:
            assert is_in_force(server, settings)

    def test_replica_follows_the_first_server(self, tmp_path: Path) -> None:
        services = compose("sentinel")["services"]
        replica = services["redis-2"]
        *_, last = written(replica, tmp_path, **replica["environment"])
        first = services["redis-1"]["networks"]["default"]["ipv4_address"]
        assert last == ("replicaof", f"{first} 6379")

    def test_sentinel_watches_the_service_of_the_settings(self, tmp_path: Path) -> None:
        services = compose("sentinel")["services"]
        lines = written(services["sentinel-1"], tmp_path)
        first = services["redis-1"]["networks"]["default"]["ipv4_address"]
        assert ("sentinel", f"monitor shop {first} 6379 2") in lines
        assert '"LOCATION": "redis://shop/0"' in (DOCS / "failover.md").read_text()


class TestSettingsOfThePage:
    def test_name_services_of_compose(self) -> None:
        single, cluster, sentinel = (
            block.code for block in blocks(PAGE) if block.language == "python"
        )
        namespace: dict[str, Any] = {}
        exec(single, namespace)
        assert namespace["CACHES"]["jsonbuffer"]["LOCATION"] == "redis://redis:6379/0"
        nodes = eval(f"{{{cluster}}}")["LOCATION"]
        assert {url[8:-5] for url in nodes} == {*compose("cluster")["services"]} - {
            *("web", "worker", "cluster")
        }
        names = {name for name, _ in eval(f"{{{sentinel}}}")["SENTINELS"]}
        assert names == {each for each in compose("sentinel")["services"] if "sentinel" in each}
