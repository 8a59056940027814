"""infra/k8s: kustomize builds each overlay; core kinds are valid, KubeRay's strictly against its own definitions; what no schema says is said here."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from embermill.jobs.cli import build_parser
from embermill.jobs.config import load_config
from embermill.jobs.submit.package import GRACE_S
from tests.conftest import SHARED
from tests.infra.rayjobs import K8S, derived, pods
from tests.services import ROOT, program
from tests.serving import serving

OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
KUBERNETES = "1.34"
RAY_KINDS = {"RayJob": "ray.io_rayjobs.yaml", "RayCronJob": "ray.io_raycronjobs.yaml"}
FIELDS = Path(__file__).parent / "kuberay_fields.txt"
POD_MONITOR = {
    "spec": {"selector", "podMetricsEndpoints"},
    "spec.selector": {"matchLabels"},
    "spec.podMetricsEndpoints": {"port", "path", "interval"},
}  # of monitoring.coreos.com/v1, those that we use


@cache
def built(overlay: str) -> tuple[dict[str, Any], ...]:
    done = subprocess.run([program("kubectl"), "kustomize", str(K8S / "overlays" / overlay)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return tuple(yaml.safe_load_all(done.stdout))


def all_objects(overlay: str) -> list[dict[str, Any]]:
    """With those that are in a ConfigMap, to be created later."""
    later = [yaml.safe_load(text) for held in built(overlay) if held["kind"] == "ConfigMap" for name, text in held["data"].items() if name.startswith("rayjob")]
    return [*built(overlay), *later]


def specs(overlay: str) -> list[dict[str, Any]]:
    """The spec of every RayJob that the overlay makes."""
    found = [held for held in all_objects(overlay) if held["kind"] in RAY_KINDS]
    return [held["spec"]["jobTemplate"] if held["kind"] == "RayCronJob" else held["spec"] for held in found]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_core_kinds_and_every_pod_are_valid(overlay: str) -> None:
    for held in built(overlay):
        if not held["apiVersion"].startswith(("ray.io/", "monitoring.coreos.com/")):
            kubernetes_validate.validate(held, KUBERNETES, strict=True)
    for spec in specs(overlay):
        for pod in pods(spec):
            whole = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"} | pod.get("metadata", {}), "spec": pod["spec"]}
            kubernetes_validate.validate(whole, KUBERNETES, strict=True)


def test_a_wrong_field_would_be_seen() -> None:
    with pytest.raises(Exception, match="serviceAcountName"):
        wrong = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"serviceAcountName": "b", "containers": [{"name": "c", "image": "d"}]}}
        kubernetes_validate.validate(wrong, KUBERNETES, strict=True)


@cache
def schema(kind: str) -> dict[str, Any]:
    (version,) = (each for each in yaml.load((SHARED / "schemas" / RAY_KINDS[kind]).read_text(), yaml.CSafeLoader)["spec"]["versions"] if each["name"] == "v1")
    found: dict[str, Any] = version["schema"]["openAPIV3Schema"]
    close(found)
    return found


@cache
def validator(kind: str) -> jsonschema.Draft202012Validator:
    """Made once: that a definition is itself a schema need not be checked, and takes minutes."""
    return jsonschema.Draft202012Validator(schema(kind))


def close(node: Any) -> None:
    """Unknown fields are errors, but where the definition keeps them."""
    if isinstance(node, dict):
        if "properties" in node and "additionalProperties" not in node and not node.get("x-kubernetes-preserve-unknown-fields"):
            node["additionalProperties"] = False
        for value in node.values():
            close(value)
    elif isinstance(node, list):
        for value in node:
            close(value)


@pytest.mark.shared
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ray_kinds_hold_to_kuberays_definitions(overlay: str) -> None:
    for held in all_objects(overlay):
        if held["kind"] in RAY_KINDS:
            metadata: dict[str, Any] = {"metadata": {}}  # which the definition leaves to Kubernetes
            validator(held["kind"]).validate(held | metadata)
            with pytest.raises(jsonschema.ValidationError):
                validator(held["kind"]).validate(held | metadata | {"spec": held["spec"] | {"backofLimit": 1}})


def field_paths(held: Any, path: str = "") -> Iterator[str]:
    """Every path of keys, list places left out; what is inside a pod or is a map of names ends there."""
    if isinstance(held, dict):
        for key, value in held.items():
            here = f"{path}.{key}" if path else key
            yield here
            if key not in ("template", "submitterPodTemplate", "rayStartParams", "metadata"):
                yield from field_paths(value, here)
    elif isinstance(held, list):
        for value in held:
            yield from field_paths(value, path)


def known_fields() -> set[str]:
    return {line for line in FIELDS.read_text().splitlines() if line and not line.startswith("#")}


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_ray_kinds_hold_no_field_that_was_not_looked_up(overlay: str) -> None:
    assert {path for spec in specs(overlay) for path in field_paths(spec)} <= known_fields()


@pytest.mark.shared
def test_the_fields_that_were_looked_up_are_kuberays() -> None:
    properties = schema("RayJob")["properties"]["spec"]
    for path in known_fields():
        node = properties
        for key in path.split("."):
            node = node.get("items", node)["properties"][key]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_what_the_rules_of_kuberay_say_beside_its_schema(overlay: str) -> None:
    """CEL rules and the webhook's: deletionRules go with neither shutdownAfterJobFinishes nor ttlSecondsAfterFinished; conditions name one status."""
    for spec in specs(overlay):
        assert not spec["shutdownAfterJobFinishes"] and "ttlSecondsAfterFinished" not in spec
        assert set(spec["deletionStrategy"]) == {"deletionRules"}
        rules = spec["deletionStrategy"]["deletionRules"]
        assert all(("jobStatus" in rule["condition"]) != ("jobDeploymentStatus" in rule["condition"]) for rule in rules)
        for status in ("SUCCEEDED", "FAILED"):
            waits = {rule["policy"]: rule["condition"]["ttlSeconds"] for rule in rules if rule["condition"]["jobStatus"] == status}
            assert list(waits.values()) == sorted(waits.values()) and {"DeleteWorkers", "DeleteCluster"} <= waits.keys()
            assert len(waits) == len([rule for rule in rules if rule["condition"]["jobStatus"] == status])
        assert 0 < spec["preRunningDeadlineSeconds"] < spec["activeDeadlineSeconds"]


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_exit_code_33_is_repeated_by_the_entrypoint_and_nothing_else_repeats(overlay: str) -> None:
    for spec in specs(overlay):
        assert spec["backoffLimit"] == 0 and spec["submissionMode"] == "K8sJobMode"
        assert spec["entrypoint"].startswith("repeat-33 embermill ")
    for held in built(overlay):
        if held["kind"] == "CronJob":
            assert held["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_entrypoints_are_commands_of_ours_and_read_what_is_mounted(overlay: str, tmp_path: Path) -> None:
    (job,) = (held["data"]["job.yaml"] for held in built(overlay) if held["kind"] == "ConfigMap" and "job.yaml" in held["data"])
    (tmp_path / "job.yaml").write_text(job)
    for spec in specs(overlay):
        parsed = build_parser().parse_args(shlex.split(spec["entrypoint"])[2:])
        assert parsed.name == ("sync" if overlay in ("sync", "raycronjob") else "run") and parsed.json
        assert parsed.config == "/etc/embermill/job.yaml" and load_config(tmp_path / "job.yaml", parsed.overrides).ray.address == "auto"
        environment = yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]
        assert environment == {"RAY_JOB_STOP_WAIT_TIME_S": str(GRACE_S)}, "and no secret"
        version = spec["rayClusterSpec"]["rayVersion"]
        assert f"\nray=={version} " in (ROOT / "infra/lock.txt").read_text(), "KubeRay wants the version that is in the image"


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_pods_have_no_rights_and_write_nowhere_but_where_they_may(overlay: str) -> None:
    cron = [held["spec"]["jobTemplate"]["spec"]["template"] for held in built(overlay) if held["kind"] == "CronJob"]
    templates = [*cron, *(pod for spec in specs(overlay) for pod in pods(spec))]
    assert len(templates) >= 3
    for pod in templates:
        assert pod["spec"]["securityContext"]["runAsNonRoot"] and pod["spec"]["securityContext"]["runAsUser"] > 0
        for container in pod["spec"]["containers"]:
            security = container["securityContext"]
            assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"] and security["capabilities"] == {"drop": ["ALL"]}
            assert "env" not in container, "secrets come by reference"
            assert "/tmp" in [mount["mountPath"] for mount in container["volumeMounts"]]
    for spec in specs(overlay):
        assert spec["rayClusterSpec"]["authOptions"] == {"mode": "token"}
        policy = next(held for held in built(overlay) if held["kind"] == "NetworkPolicy")
        assert all(policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items() for pod in pods(spec))
        assert all(not pod["spec"]["automountServiceAccountToken"] for pod in pods(spec))
        head = spec["rayClusterSpec"]["headGroupSpec"]
        assert head["rayStartParams"]["num-cpus"] == "0", "the driver has the head to itself"
    account = next(held for held in built(overlay) if held["kind"] == "ServiceAccount" and held["metadata"]["name"] == "embermill")
    assert account["automountServiceAccountToken"] is False


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_prometheus_finds_the_port(overlay: str) -> None:
    monitor = next(held for held in built(overlay) if held["kind"] == "PodMonitor")
    found: dict[str, set[str]] = {}
    for path, keys in ((path, path.rpartition(".")[0]) for path in field_paths(monitor) if path.startswith("spec.")):
        found.setdefault(keys, set()).add(path.rpartition(".")[2])
    assert {key: found[key] for key in POD_MONITOR} == POD_MONITOR
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    for spec in specs(overlay):
        for pod in pods(spec)[1:]:
            assert {"name": endpoint["port"], "containerPort": 8080} in pod["spec"]["containers"][0]["ports"]
            assert monitor["spec"]["selector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_what_is_made_from_the_base_is_up_to_date() -> None:
    for path, text in derived().items():
        assert path.read_text() == text, f"run `python -m tests.infra.rayjobs`: {path.name} is not what the base makes it"
    (cuda12,), (sync,) = specs("cuda12"), specs("sync")
    assert sync == cuda12 | {"entrypoint": sync["entrypoint"]}


def test_spot_workers_are_on_spot_nodes_and_the_head_is_not() -> None:
    (spec,) = specs("spot")
    _, head, worker = pods(spec)
    assert worker["spec"]["nodeSelector"] == {"cloud.google.com/gke-spot": "true"} and len(worker["spec"]["tolerations"]) == 2
    (term,) = head["spec"]["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert term["matchExpressions"] == [{"key": "cloud.google.com/gke-spot", "operator": "DoesNotExist"}]


def test_one_sync_at_a_time() -> None:
    cron = next(held for held in built("sync") if held["kind"] == "CronJob")["spec"]
    assert cron["concurrencyPolicy"] == "Forbid" and cron["startingDeadlineSeconds"] and cron["timeZone"]
    (spec,) = specs("sync")
    assert cron["jobTemplate"]["spec"]["activeDeadlineSeconds"] > spec["activeDeadlineSeconds"], "the pod that waits outlives what it waits for"
    role = next(held for held in built("sync") if held["kind"] == "Role")
    assert role["rules"] == [{"apiGroups": ["ray.io"], "resources": ["rayjobs"], "verbs": ["create", "get"]}]


class Api(BaseHTTPRequestHandler):
    """Kubernetes' API, as far as the creator asks: a RayJob whose status changes with each look."""

    looks: list[dict[str, str] | int] = []  # noqa: RUF012
    created: list[Any] = []  # noqa: RUF012

    def do_POST(self) -> None:
        self.created.append((self.path, self.headers["Authorization"], json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self.answer({"metadata": {"name": "embermill-sync-x"}})

    def do_GET(self) -> None:
        look = self.looks.pop(0)
        if isinstance(look, int):
            self.send_error(look)
        else:
            self.answer({"status": look})

    def answer(self, held: object) -> None:
        body = json.dumps(held).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


COMPLETE = {"jobDeploymentStatus": "Complete", "jobStatus": "SUCCEEDED"}
FAILED = {"jobDeploymentStatus": "Failed", "jobStatus": "FAILED", "message": "exit code 3"}


@pytest.mark.parametrize(
    ("looks", "code", "said"),
    [([{}, {"jobDeploymentStatus": "Running"}, 500, COMPLETE], 0, ""), ([{}, FAILED], 1, "exit code 3"), ([404], 1, "deleted"), ([500] * 20, 1, "goes on")],
)
def test_the_creator_waits_for_the_end_of_what_it_created(tmp_path: Path, looks: list[dict[str, str] | int], code: int, said: str) -> None:
    (tmp_path / "namespace").write_text("batch")
    (tmp_path / "token").write_text("t0ken")
    Api.looks, Api.created = [*looks], []
    with serving(ThreadingHTTPServer(("127.0.0.1", 0), Api)) as server:
        environment = {"KUBERNETES_API": f"http://127.0.0.1:{server.server_port}", "SERVICE_ACCOUNT": str(tmp_path), "POLL_S": "0.01"}
        script = [sys.executable, str(K8S / "overlays/sync/create.py"), str(K8S / "overlays/sync/rayjob-sync.yaml")]
        done = subprocess.run(script, env=environment, capture_output=True, text=True, timeout=60)
    assert (done.returncode, said in done.stderr) == (code, True), done.stderr
    ((path, token, body),) = Api.created
    assert (path, token, body["kind"]) == ("/apis/ray.io/v1/namespaces/batch/rayjobs", "Bearer t0ken", "RayJob")
