"""The cluster files: they are valid, closed to strangers, and use the pinned versions."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock, patch

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[2]
LAUNCHER_FILES = ("cluster.yaml", "cluster/on-premise.yaml")
CLUSTER_FILES = (*LAUNCHER_FILES, "cluster/kuberay.yaml", "cluster/slurm.sh", "Dockerfile")
CONSTRAINTS, DOCKERFILE = ((ROOT / name).read_text() for name in ("constraints.txt", "Dockerfile"))
RAY = re.search(r"^ray==(.+)$", CONSTRAINTS, re.MULTILINE)


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_ray_accepts_the_file(name: str) -> None:
    """Ray's own schema accepts the file as it is."""
    validate_config(prepare_config(read(name)))


@pytest.mark.parametrize(
    ("name", "asked", "profile"),
    [
        ("cluster.yaml", [], ".bashrc"),
        ("cluster/on-premise.yaml", ["ray[default]"], ".profile"),
    ],
)
def test_installation_on_machines_is_pinned(
    name: str, asked: list[str], profile: str, tmp_path: Path
) -> None:
    """Setting up a machine, once or again, makes pip install the project with its constraints.

    The commands run in a temporary home folder, with substitutes for Python and pip.
    """
    home, pip_calls = tmp_path / "home", tmp_path / "pip-calls"
    copy = home / "nst-tuner"
    (home / ".ray").mkdir(parents=True)
    (home / ".ray" / "auth_token").touch()
    (home / profile).touch()
    copy.symlink_to(ROOT)
    pip = f'#!/bin/sh\necho "$@" >> {pip_calls}\n'
    venv = '#!/bin/sh\nmkdir -p "$3/bin" && cp "$(dirname "$0")/pip" "$3/bin"\n'
    for tool, script in (("pip", pip), ("python3", venv)):
        (tmp_path / tool).write_text(script)
        (tmp_path / tool).chmod(0o755)
    env = {"HOME": str(home), "PATH": f"{tmp_path}:/usr/bin:/bin"}
    for command in read(name)["setup_commands"] * 2:
        subprocess.run(["bash", "-c", command], env=env, check=True)
    line = ["install --quiet --constraint", f"{copy}/constraints.txt", *asked, str(copy)]
    assert pip_calls.read_text().splitlines() == [" ".join(line)] * 2
    assert (home / profile).read_text().count("RAY_AUTH_MODE=token") == 1
    assert read(name)["file_mounts"]["~/nst-tuner"] == "."


def test_installation_in_the_image_is_pinned() -> None:
    """The image installs its copy of the project with the constraints."""
    (line,) = re.findall(r"RUN pip install (.*?[^\\])\n", DOCKERFILE, re.DOTALL)
    (copy,) = re.findall(r"^COPY \S+ \. (\S+)$", DOCKERFILE, re.MULTILINE)
    words = line.replace("\\\n", " ").split()
    assert words[words.index("--constraint") + 1] == f"{copy}/constraints.txt"
    assert words[-1] == copy


@pytest.mark.parametrize("name", LAUNCHER_FILES)
def test_cluster_requires_a_token(name: str) -> None:
    """Every node requires a token, which is copied as a file; dashboards listen on loopback."""
    config = read(name)
    for key in ("head_start_ray_commands", "worker_start_ray_commands"):
        (start,) = (command for command in config[key] if "ray start" in command)
        assert start.startswith("RAY_AUTH_MODE=token ")
        if key.startswith("head"):
            assert "--dashboard-host=127.0.0.1" in start
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert "chmod 600 ~/.ray/auth_token" in config["setup_commands"]


def test_documented_copies_go_to_the_home_folder_of_the_cluster(tmp_path: Path) -> None:
    """In the documented commands, the local shell does not expand the `~` of the other machine."""
    text = (ROOT / "cluster.yaml").read_text(encoding="utf-8")
    lines = re.findall(r"ray rsync-(?:up|down) .*?(?=  |`|$)", text, re.MULTILINE)
    (tmp_path / "ray").write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    (tmp_path / "ray").chmod(0o755)
    env = {"HOME": "/home/me", "PATH": f"{tmp_path}:/usr/bin:/bin"}
    remote_argument = {"rsync-up": 3, "rsync-down": 2}
    runs = [
        subprocess.run(["bash", "-c", line], env=env, capture_output=True, text=True, check=True)
        for line in lines
    ]
    calls = [done.stdout.splitlines() for done in runs]
    assert {call[0] for call in calls} == set(remote_argument)
    for call in calls:
        assert len(call) == 4 and call[remote_argument[call[0]]].startswith("~/")


def test_cloud_cluster_costs_nothing_when_idle() -> None:
    """GPU machines start on demand, at spot prices; `ray down` deletes machines and disks."""
    config = read("cluster.yaml")
    assert config["provider"]["cache_stopped_nodes"] is False
    gpu = config["available_node_types"]["gpu"]
    assert gpu["min_workers"] == 0
    assert gpu["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"}
    assert config["available_node_types"]["head"]["resources"] == {"CPU": 0}


@pytest.fixture
def aws() -> Iterator[Any]:
    """Ray's module that prepares a cluster on AWS, with a substitute for the AWS client."""
    names = ("boto3", "boto3.exceptions", "boto3.resources", "boto3.resources.base")
    names = (*names, "botocore", "botocore.client", "botocore.config")
    substitutes = {name: MagicMock(__version__="1.40.0") for name in names}
    with patch.dict(sys.modules, substitutes):
        yield importlib.import_module("ray.autoscaler._private.aws.config")


def rules_sent(aws: Any, config: Any) -> list[Any]:
    """Return the rules that Ray would add to a security group that it makes for the cluster."""
    group = MagicMock(
        vpc_id="vpc", ip_permissions=[], group_name="ray-autoscaler-nst-tuner", id="sg"
    )
    ec2 = MagicMock()
    ec2.security_groups.filter.return_value = [group]
    ec2.subnets.filter.return_value = [MagicMock(vpc_id="vpc")]
    with patch.object(aws, "_resource", return_value=ec2):
        aws._configure_security_group(config)
    calls = group.authorize_ingress.call_args_list
    return [rule for call in calls for rule in call.kwargs["IpPermissions"]]


def test_ray_opens_no_port_on_aws(aws: Any) -> None:
    """Ray does not change the named security group; its own would open SSH to everybody."""
    config = prepare_config(read("cluster.yaml"))
    assert rules_sent(aws, config) == []
    for kind in config["available_node_types"].values():
        kind["node_config"]["SubnetIds"] = ["subnet"]
        del kind["node_config"]["SecurityGroupIds"]
    opened = [rule.get("IpRanges") for rule in rules_sent(aws, config)]
    assert [{"CidrIp": "0.0.0.0/0"}] in opened


def test_every_machine_on_aws_has_the_same_named_image() -> None:
    """Head and GPU machines name one image, because the default image of Ray predates CUDA 13."""
    kinds = read("cluster.yaml")["available_node_types"].values()
    (image,) = {kind["node_config"].get("ImageId") for kind in kinds}
    assert image.startswith("ami-")


def test_required_driver_fits_the_pinned_cuda() -> None:
    """All files require driver 580, the first for CUDA 13 (NVIDIA's compatibility table)."""
    (cuda,) = re.findall(r"^nvidia-cuda-runtime==(\d+)", CONSTRAINTS, re.MULTILINE)
    driver = {"13": "580"}[cuda]
    for name in (*CLUSTER_FILES, "docs/guide/clusters.md"):
        text = " ".join((ROOT / name).read_text(encoding="utf-8").replace("\n#", "").split())
        assert f"NVIDIA driver of {driver} or later" in text, name


def test_all_files_use_the_pinned_ray() -> None:
    """Images and Kubernetes name the pinned Ray, since all machines must run the same version."""
    assert RAY is not None
    version = RAY[1]
    assert f"rayproject/ray:{version}-" in read("cluster.yaml")["docker"]["image"]
    assert read("cluster/kuberay.yaml")["spec"]["rayClusterSpec"]["rayVersion"] == version
    assert f"FROM rayproject/ray:{version}-" in DOCKERFILE


def closed(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    """Return the JSON Schema of an object with these keys and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


TEXT, WHOLE, YES_NO, ANY = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {}
TEXTS = {"type": "object", "additionalProperties": TEXT}
QUANTITY = {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(m|[KMGTPE]i?)?$"}
QUANTITIES = {"type": "object", "additionalProperties": QUANTITY}
CONTAINER = closed(
    {
        "name": TEXT,
        "image": TEXT,
        "command": {"type": "array", "items": TEXT},
        "resources": closed({"limits": QUANTITIES, "requests": QUANTITIES}),
        "volumeMounts": {
            "type": "array",
            "items": closed({"name": TEXT, "mountPath": TEXT, "readOnly": YES_NO}, "name"),
        },
        "env": ANY,
    },
    *("name", "image"),
)
POD = closed(
    {
        "metadata": ANY,
        "spec": closed(
            {
                "securityContext": closed(
                    {"runAsNonRoot": YES_NO, "runAsUser": WHOLE, "fsGroup": WHOLE}
                ),
                "containers": {"type": "array", "items": CONTAINER, "minItems": 1},
                "volumes": {"type": "array", "items": {"type": "object", "required": ["name"]}},
            },
            "containers",
        ),
    },
    "spec",
)
#: The keys of the ``ray.io/v1`` RayJob that we use, with their types, from the reference that
#: KubeRay 1.6.2 generates (its docs/reference/api.md). Keys that its operator refuses are left
#: out.
RAY_JOB = closed(
    {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": closed({"name": TEXT}, "name"),
        "spec": closed(
            {
                **dict.fromkeys(
                    ("activeDeadlineSeconds", "backoffLimit", "ttlSecondsAfterFinished"), WHOLE
                ),
                **dict.fromkeys(("shutdownAfterJobFinishes", "suspend"), YES_NO),
                **dict.fromkeys(("entrypoint", "runtimeEnvYAML", "jobId", "managedBy"), TEXT),
                "submissionMode": {
                    "enum": ["K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"]
                },
                "clusterSelector": TEXTS,
                "metadata": TEXTS,
                "rayClusterSpec": closed(
                    {
                        "rayVersion": TEXT,
                        "authOptions": closed(
                            {"mode": {"enum": ["disabled", "token"]}, "secretName": TEXT}
                        ),
                        "enableInTreeAutoscaling": YES_NO,
                        "autoscalerOptions": ANY,
                        "headGroupSpec": closed(
                            {"rayStartParams": TEXTS, "template": POD, "serviceType": TEXT},
                            "template",
                        ),
                        "workerGroupSpecs": {
                            "type": "array",
                            "items": closed(
                                {
                                    "groupName": TEXT,
                                    **dict.fromkeys(
                                        ("replicas", "minReplicas", "maxReplicas", "numOfHosts"),
                                        WHOLE,
                                    ),
                                    "rayStartParams": TEXTS,
                                    "template": POD,
                                },
                                *("groupName", "minReplicas", "maxReplicas", "template"),
                            ),
                        },
                    },
                    "headGroupSpec",
                ),
            },
            "entrypoint",
        ),
    },
    *("apiVersion", "kind", "metadata", "spec"),
)


def test_kuberay_accepts_the_file() -> None:
    """The RayJob has only keys that KubeRay knows, with the right types, and requires a token."""
    job = read("cluster/kuberay.yaml")
    jsonschema.validate(job, RAY_JOB)
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}


def test_runs_on_kubernetes_survive_deleting_the_job() -> None:
    """The volume is defined in a file of its own, so deleting the job keeps it."""
    claim, files = yaml.safe_load_all((ROOT / "cluster/kuberay-storage.yaml").read_text())
    head = read("cluster/kuberay.yaml")["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]
    jsonschema.validate(files["spec"], POD["properties"]["spec"])
    for pod in (files["spec"], head["spec"]):
        (volume,) = pod["volumes"]
        assert volume["persistentVolumeClaim"] == {"claimName": claim["metadata"]["name"]}
        (mount,) = pod["containers"][0]["volumeMounts"]
        assert mount == {"name": volume["name"], "mountPath": "/data"}


@pytest.mark.parametrize(
    ("existing", "command"),
    [
        ([], "launch /data/pictures/job.yaml --run-dir /data/run"),
        (["job.yaml"], "launch /data/pictures/job.yaml --run-dir /data/run"),
        (["job.yaml", "study.journal"], "resume /data/run"),
        (["job.yaml", "study.json"], "resume /data/run"),
    ],
)
def test_kubernetes_resumes_an_existing_run(
    existing: list[str], command: str, tmp_path: Path
) -> None:
    """A folder with a study is resumed; a folder without one is launched.

    The operator puts the entrypoint into a shell command, and `ray job submit` quotes it for the
    shell of the head node.
    """
    (tmp_path / "run").mkdir()
    for name in existing:
        (tmp_path / "run" / name).touch()
    entrypoint = read("cluster/kuberay.yaml")["spec"]["entrypoint"].replace("/data", str(tmp_path))
    submit = "import shlex, subprocess, sys; subprocess.run(shlex.join(sys.argv[1:]), shell=True)"
    (tmp_path / "nst-tuner").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "nst-tuner").chmod(0o755)
    printed = subprocess.run(
        ["bash", "-ce", f"{sys.executable} -c '{submit}' {entrypoint}"],
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.replace(str(tmp_path), "/data") == f"{command} --address auto\n"


def test_documented_metrics_are_those_of_prometheus() -> None:
    """The guide names every gauge and counter of the Prometheus tracker, and no others."""
    callbacks = (ROOT / "tuner/run/trackers.py").read_text(encoding="utf-8")
    guide = (ROOT / "docs/guide/clusters.md").read_text(encoding="utf-8")
    named = re.findall(r"`(nst_\w+)`", guide)
    gauges = re.findall(r'Gauge\("(\w+)"', callbacks)
    counters = re.findall(r'Counter\("(\w+)"', callbacks)
    assert sorted(named) == sorted([*gauges, *(f"{name}_total" for name in counters)])
