"""`ray_cluster.yaml` and `cluster/on_premise.yaml`, through the functions that `ray up` itself calls."""

import copy
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import botocore.exceptions
import click
import jsonschema
import moto
import pytest
from deploy_files import AWS, ON_PREMISE, ROOT, load
from ray.autoscaler._private.aws.node_provider import AWSNodeProvider
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.node_launch_exception import NodeLaunchException

CONFIGS = [AWS, ON_PREMISE]
STARTS = ["head_start_ray_commands", "worker_start_ray_commands"]

Config = dict[str, Any]


def validated(config: Config) -> Config:
    """As `ray up` does it, before it speaks to any provider."""
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


@pytest.fixture(params=CONFIGS, ids=lambda path: path.name)
def config(request: pytest.FixtureRequest) -> Config:
    return load(request.param)


def test_ray_accepts_it(config: Config) -> None:
    validated(config)


def misspell_key(config: Config) -> None:
    config["setup_comands"] = config.pop("setup_commands")


def command_is_no_list(config: Config) -> None:
    config["worker_start_ray_commands"] = config["worker_start_ray_commands"][0]


def lose_provider(config: Config) -> None:
    del config["provider"]["type"]


def add_ssh_option(config: Config) -> None:
    config["auth"]["ssh_usr"] = "ubuntu"


@pytest.mark.parametrize("plant", [misspell_key, command_is_no_list, lose_provider, add_ssh_option])
def test_ray_refuses_a_planted_error(config: Config, plant: Callable[[Config], None]) -> None:
    plant(config)
    with pytest.raises((jsonschema.ValidationError, KeyError, ValueError)):
        validated(config)


def head_type_is_unknown(config: Config) -> None:
    config["head_node_type"] = "haed"


def misspell_node_type_key(config: Config) -> None:
    config["available_node_types"]["gpu"]["max_worker"] = 8


def more_at_least_than_at_most(config: Config) -> None:
    config["available_node_types"]["cpu"]["min_workers"] = config["max_workers"] + 1


def resource_is_no_number(config: Config) -> None:
    config["available_node_types"]["head"]["resources"]["CPU"] = "none"


@pytest.mark.parametrize(
    "plant", [head_type_is_unknown, misspell_node_type_key, more_at_least_than_at_most, resource_is_no_number]
)
def test_ray_refuses_a_planted_error_in_the_node_types(plant: Callable[[Config], None]) -> None:
    config = load(AWS)
    plant(config)
    with pytest.raises((jsonschema.ValidationError, ValueError)):
        validated(config)


def test_ray_refuses_node_types_on_premise() -> None:
    config = load(ON_PREMISE)
    config["available_node_types"] = {"gpu": {"node_config": {}, "resources": {}}}
    with pytest.raises(click.ClickException):
        validated(config)


def test_on_premise_machines_are_documentation_addresses() -> None:
    """RFC 5737's, which no machine has: nobody's cluster is met by accident."""
    provider = load(ON_PREMISE)["provider"]
    assert all(address.startswith("192.0.2.") for address in [provider["head_ip"], *provider["worker_ips"]])


def test_the_groups_are_what_docs_promise() -> None:
    config = load(AWS)
    types = config["available_node_types"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert types["cpu"]["min_workers"] >= 1
    assert types["gpu"]["min_workers"] == 0
    assert types["gpu"]["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert "InstanceMarketOptions" not in types["cpu"]["node_config"]
    assert config["max_workers"] >= types["cpu"]["max_workers"] + types["gpu"]["max_workers"]


def test_head_is_idle_and_its_dashboard_is_on_loopback(config: Config) -> None:
    (head,) = config["head_start_ray_commands"]
    assert "--num-cpus=0" in head.split()
    assert "--dashboard-host=127.0.0.1" in head.split()
    assert "include-dashboard" not in head  # on by default, and Ray Train needs it


def test_token_and_sources_reach_every_node(config: Config) -> None:
    mounts = config["file_mounts"]
    assert mounts.pop("~/.ray/auth_token") == "~/.ray/auth_token"
    assert {remote: f"~/collapse-ray/{local}" for remote, local in mounts.items()} == {
        remote: remote for remote in mounts
    }
    missing = [local for local in mounts.values() if not (ROOT / local).exists()]
    assert missing == []
    for command in [*config["setup_commands"], *config.get("head_setup_commands", []), *started(config)]:
        if command.startswith("~/collapse-ray/"):
            script = ROOT / command.split()[0].removeprefix("~/collapse-ray/")
            assert script.exists()
            assert script.stat().st_mode & 0o111
    assert any("chmod 600 ~/.ray/auth_token" in command for command in config["setup_commands"])


def test_no_command_ends_the_rays_of_others(config: Config) -> None:
    commands = [*config["setup_commands"], *config.get("head_setup_commands", []), *started(config)]
    assert [command for command in commands if "ray stop" in command or "pkill" in command] == []
    assert all(command.startswith("~/collapse-ray/cluster/ray_node.sh start ") for command in started(config))


def started(config: Config) -> list[str]:
    return [command for key in STARTS for command in config[key]]


def test_commands_are_bash(config: Config) -> None:
    for key in ["setup_commands", *STARTS]:
        for command in config[key]:
            subprocess.run(["bash", "-n", "-c", command], check=True)


@pytest.fixture
def ec2(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A simulated AWS with the instance profiles that the file asks the user to make."""
    monkeypatch.setenv("HOME", str(tmp_path))  # Ray writes the key pair that it makes
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "simulated")
    with moto.mock_aws():
        iam = boto3.client("iam")
        for node_type in load(AWS)["available_node_types"].values():
            name = node_type["node_config"]["IamInstanceProfile"]["Name"]
            if name not in {
                profile["InstanceProfileName"] for profile in iam.list_instance_profiles()["InstanceProfiles"]
            }:
                iam.create_instance_profile(InstanceProfileName=name)
        yield


@pytest.mark.slow
@pytest.mark.usefixtures("ec2")
def test_ray_launches_every_group() -> None:
    config = AWSNodeProvider.fillout_available_node_types_resources(validated(load(AWS)))
    resources = {name: node_type["resources"] for name, node_type in config["available_node_types"].items()}
    assert resources["head"]["CPU"] == 0
    assert "GPU" not in resources["cpu"]
    assert resources["gpu"]["GPU"] == 1
    config = AWSNodeProvider.bootstrap_config(config)
    client = boto3.client("ec2", region_name=config["provider"]["region"])
    for name in config["available_node_types"]:
        launched = launch(config, name)
        (reservation,) = client.describe_instances(InstanceIds=launched)["Reservations"]
        (instance,) = reservation["Instances"]
        assert instance["InstanceType"] == load(AWS)["available_node_types"][name]["node_config"]["InstanceType"]
        assert (instance.get("InstanceLifecycle") == "spot") == (name == "gpu")
    config["available_node_types"]["gpu"]["node_config"]["InstanceTyp"] = "g6.4xlarge"
    with pytest.raises((botocore.exceptions.ParamValidationError, NodeLaunchException), match="InstanceTyp"):
        launch(config, "gpu")


def launch(config: Config, name: str) -> list[str]:
    """Ids of the instances of one node of a type."""
    provider = AWSNodeProvider(config["provider"], config["cluster_name"])
    kind = "head" if name == config["head_node_type"] else "worker"
    tags = {"ray-node-type": kind, "ray-user-node-type": name, "ray-node-name": name}
    node_config = copy.deepcopy(config["available_node_types"][name]["node_config"])
    return list(provider.create_node(node_config, tags, 1) or {})
