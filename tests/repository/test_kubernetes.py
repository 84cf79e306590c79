"""The files of deploy/kubernetes: valid by Kubernetes' published schemas, accepted by Prefect's Kubernetes worker.

No cluster runs them here. The schemas are those of the package kubernetes-validate.
"""

import asyncio
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import kubernetes_validate
import pytest
import yaml
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import FlowRun
from prefect.settings import Settings
from prefect_kubernetes.settings import KubernetesSettings
from prefect_kubernetes.worker import KubernetesWorker, KubernetesWorkerJobConfiguration

from flows.station.environment import DEFAULTS
from tests.support.paths import ROOT
from tests.support.servers import PrefectServer

FOLDER = ROOT / "deploy" / "kubernetes"
GUIDE = (ROOT / "docs" / "how-to" / "containers-and-kubernetes.md").read_text()
TEMPLATE = json.loads((FOLDER / "gpu-pool.json").read_text())
VERSIONS = list(dict.fromkeys(kubernetes_validate.utils.all_versions()))[-4::3]
"""The newest, and one that is older than the three that Kubernetes supports."""
MISPLACED = ("parallelism", "completions")
"""Prefect requires these fields in the specification of the pod, where Kubernetes has none and ignores them."""


def objects() -> list[dict[str, Any]]:
    """Every object of the plain manifests."""
    return [each for file in sorted(FOLDER.glob("*.yaml")) if ".values." not in file.name for each in load(file.name)]


def load(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def deployment(values: dict[str, Any], env: str) -> dict[str, Any]:
    """What Prefect's charts make of values: they copy these fragments into a deployment."""
    copied = {
        "resources": values["resources"],
        "env": values[env],
        "securityContext": values["containerSecurityContext"],
    }
    probe = {"httpGet": {"path": "/health", "port": 8080}} | values["livenessProbe"].get("config", {})
    mounts = {"volumeMounts": values.get("extraVolumeMounts", [])}
    container = {"name": "prefect", "image": "prefect", "livenessProbe": probe} | copied | mounts
    pod = {"containers": [container], "securityContext": values["podSecurityContext"]}
    pod |= {"volumes": values.get("extraVolumes", [])}
    labels = {"app": "prefect"}
    template = {"metadata": {"labels": labels}, "spec": pod}
    specification = {"selector": {"matchLabels": labels}, "template": template}
    specification |= {"strategy": values["updateStrategy"]} if "updateStrategy" in values else {}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "prefect"}, "spec": specification}


SERVER, GPU_WORKER = load("server.values.yaml")[0], load("gpu-worker.values.yaml")[0]


def job(**variables: Any) -> dict[str, Any]:
    """The job that Prefect's worker submits for a run of a deployment of prefect.yaml on this pool."""
    deployments = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
    (train,) = [each for each in deployments if each["name"] == "stage-train"]
    values = train["work_pool"]["job_variables"] | variables
    client = PrefectClient("http://127.0.0.1:9/api")  # which is asked nothing: the template refers to no block
    configuration: Any = asyncio.run(
        KubernetesWorkerJobConfiguration.from_template_and_values(TEMPLATE, values, client=client)
    )
    configuration.prepare_for_flow_run(FlowRun(flow_id=uuid4(), name="train seed 1"))
    manifest: dict[str, Any] = configuration.job_manifest
    for name in MISPLACED:
        assert manifest["spec"]["template"]["spec"].pop(name) == 1
    return manifest


def pods() -> dict[str, dict[str, Any]]:
    """The specification of each pod, by who starts it."""
    return {
        "cpu-worker": load("cpu-worker.yaml")[0]["spec"]["template"]["spec"],
        "server": deployment(SERVER["server"], "env")["spec"]["template"]["spec"],
        "gpu-worker": deployment(GPU_WORKER["worker"], "extraEnvVars")["spec"]["template"]["spec"],
        "job": job()["spec"]["template"]["spec"],
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_manifests_are_valid_by_the_published_schemas(version: str) -> None:
    """Strictly: an unknown field is an error. Values of charts count as the charts copy them into a deployment."""
    composed = [deployment(SERVER["server"], "env"), deployment(GPU_WORKER["worker"], "extraEnvVars")]
    checked = [*objects(), *composed, job()]
    assert sorted(each["kind"] for each in checked) == ["Deployment"] * 3 + ["Job"] + ["PersistentVolumeClaim"] * 2
    for each in checked:
        kubernetes_validate.validate(each, version, strict=True)


@pytest.mark.parametrize(
    "damage", [{"tolerations": [{"key": "nvidia.com/gpu", "seconds": 1}]}, {"volumes": [{"emptyDir": {"size": 1}}]}]
)
def test_a_wrong_variable_is_found(damage: dict[str, Any]) -> None:
    """The check above can fail: a value or field that Kubernetes does not know."""
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job(**damage), VERSIONS[-1], strict=True)


def test_prefect_accepts_the_pool() -> None:
    """Its server's check of the template; every placeholder has a variable, and each variable is used.

    Prefect's own template has the two misplaced fields too, so that this project's cannot leave them out.
    """
    WorkPoolCreate(name="gpu-pool", type="kubernetes", base_job_template=TEMPLATE)
    placeholders = set(re.findall(r"{{ (\w+) }}", json.dumps(TEMPLATE["job_configuration"])))
    assert placeholders == set(TEMPLATE["variables"]["properties"])
    own = KubernetesWorker.get_default_base_job_template()
    assert set(MISPLACED) <= own["job_configuration"]["job_manifest"]["spec"]["template"]["spec"].keys()
    assert set(TEMPLATE["job_configuration"]) == set(own["job_configuration"]) - {"cluster_config"}


def test_a_job_asks_for_what_training_needs() -> None:
    """GPUs, shared memory, a node that has them; the environment of the deployment beside that of the pool."""
    manifest = job(gpus=2, node_selector={"nvidia.com/gpu.product": "H100"}, user=12345)
    pod = manifest["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert (
        container["resources"]["limits"]["nvidia.com/gpu"] == container["resources"]["requests"]["nvidia.com/gpu"] == 2
    )
    mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
    volumes = {volume.pop("name"): volume for volume in pod["volumes"]}
    assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
    assert volumes[mounts["/shared"]]["persistentVolumeClaim"]["claimName"] in claims()
    assert pod["nodeSelector"] == {"nvidia.com/gpu.product": "H100"}
    assert {toleration["key"] for toleration in pod["tolerations"]} == {"nvidia.com/gpu"}
    assert pod["securityContext"]["runAsUser"] == 12345
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    assert environment["HF_HUB_CACHE"] == "/shared/hub"
    assert environment["PREFECT_FLOWS_HEARTBEAT_FREQUENCY"] == "30"
    assert container["args"] == ["prefect", "flow-run", "execute"]
    assert manifest["spec"]["backoffLimit"] == 0  # runs are started again by their parent
    assert container["image"].endswith("/dialogsum-worker:cuda")


@pytest.mark.parametrize("name", ["cpu-worker", "server", "gpu-worker", "job"])
def test_no_pod_runs_as_root_or_writes_into_its_image(name: str) -> None:
    pod = pods()[name]
    (container,) = pod["containers"]
    context = pod["securityContext"] | container["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] >= 1
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}


def test_settings_of_prefect_exist_and_are_those_of_a_station() -> None:
    """Prefect ignores a misspelt variable."""
    written = [each for name in ("cpu-worker", "server", "gpu-worker") for each in pods()[name]["containers"][0]["env"]]
    named = {each["name"] for each in written if each["name"].startswith("PREFECT_")}
    assert len(named) > 8
    assert named - {name.upper() for name in settings(Settings) | settings(KubernetesSettings)} == set()
    server = {each["name"]: each["value"] for each in SERVER["server"]["env"]}
    shared = set(server) & set(DEFAULTS)
    assert len(shared) == 2
    assert {name: server[name] for name in shared} == {name: DEFAULTS[name] for name in shared}


def settings(model: Any, prefix: str = "") -> set[str]:
    """Names of the environment variables of a model of settings, nested ones included."""
    names = set[str]()
    for name, field in model.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and hasattr(kind, "model_fields"):
            names |= settings(kind)
        else:
            names.add(model.model_config["env_prefix"] + name)
            names |= {each for each in getattr(field.validation_alias, "choices", []) if isinstance(each, str)}
    return names


def claims() -> set[str]:
    return {each["metadata"]["name"] for each in objects() if each["kind"] == "PersistentVolumeClaim"}


def test_guide_creates_every_secret_claim_and_file_that_is_used() -> None:
    """Each secret with its key; each claim by claims.yaml; every file of the folder is in a command or table."""
    text = json.dumps([*pods().values(), SERVER, GPU_WORKER])
    secrets = set(re.findall(r'"secretKeyRef": {"name": "([\w-]+)", "key": "([\w-]+)"}', text))
    secrets |= {(name, "DIALOGSUM_STORE") for name in re.findall(r'"secretRef": {"name": "([\w-]+)"', text)}
    secrets |= {
        (SERVER["secret"]["name"], "connection-string"),
        (SERVER["server"]["basicAuth"]["existingSecret"], "auth-string"),
    }
    created = dict(re.findall(r"create secret generic ([\w-]+)((?:[\s\\]+--from-literal=\S+)+)", GUIDE))
    assert set(created) == {name for name, _ in secrets}
    assert [(name, key) for name, key in secrets if f"={key}=" not in created[name]] == []
    assert set(re.findall(r'"claimName": "([\w-]+)"', text)) == claims()
    assert [file.name for file in FOLDER.iterdir() if f"deploy/kubernetes/{file.name}" not in GUIDE] == []


@pytest.mark.slow
def test_commands_of_the_guide_set_up_a_server(tmp_path: Path) -> None:
    """Those from pools to deployments, with a credential: stages that need a GPU are on the pool of jobs."""
    server = PrefectServer(tmp_path / "server", PREFECT_SERVER_API_AUTH_STRING="team:CREDENTIAL")
    try:
        (block,) = [each for each in re.findall(r"```sh\n(.*?)```", GUIDE, re.DOTALL) if "work-pool create" in each]
        commands = block.replace("http://127.0.0.1:4200/api", server.url).replace("prefect deployment run", ": prefect")
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        environment = os.environ | {"PATH": path, "PREFECT_HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
        done = subprocess.run(["bash", "-ec", commands], cwd=ROOT, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        with httpx.Client(base_url=server.url, auth=("team", "CREDENTIAL")) as client:
            pool = client.get("/work_pools/gpu-pool").json()
            deployments = client.post("/deployments/filter", json={}).json()
        assert (pool["type"], pool["base_job_template"]) == ("kubernetes", TEMPLATE)
        on_gpu = {each["name"] for each in deployments if each["work_pool_name"] == "gpu-pool"}
        assert on_gpu == {"stage-train", "stage-sample", "stage-generate", "stage-probe", "stage-judge", "summarize"}
    finally:
        server.stop()
