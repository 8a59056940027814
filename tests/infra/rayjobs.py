"""Our RayJobs: read, and the one for `sync` made from the one for `run`.

    python -m tests.infra.rayjobs      writes what is made from infra/k8s/base/rayjob.yaml into the overlays
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import yaml

K8S = Path(__file__).parents[2] / "infra/k8s"
SYNC, CRON = K8S / "overlays/sync/rayjob-sync.yaml", K8S / "overlays/raycronjob/raycronjob.yaml"
SAID = "the RayJob of overlays/cuda12 with `sync` in place of `run`, written by `python -m tests.infra.rayjobs`.\n"


class Plain(yaml.SafeDumper):
    """No anchors, lists indented."""

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def base() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((K8S / "base/rayjob.yaml").read_text())
    return found


def pods(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """Every pod template of a RayJob's spec."""
    cluster = spec["rayClusterSpec"]
    return [spec["submitterPodTemplate"], cluster["headGroupSpec"]["template"], *(group["template"] for group in cluster["workerGroupSpecs"])]


def sync_spec() -> dict[str, Any]:
    spec: dict[str, Any] = copy.deepcopy(base()["spec"])
    spec["entrypoint"] = spec["entrypoint"].replace("embermill run", "embermill sync")
    for pod in pods(spec):
        pod["spec"]["containers"][0]["image"] = "embermill:cuda12"
    worker = pods(spec)[-1]["spec"]
    worker["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] = "2"
    worker["tolerations"] = [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}]
    return spec


def derived() -> dict[Path, str]:
    """What each file made from the base holds."""
    labels = {"app.kubernetes.io/name": "embermill"}
    job = base() | {"metadata": {"generateName": "embermill-sync-", "labels": labels}, "spec": sync_spec()}
    schedule = {"schedule": "0 3 * * *", "timeZone": "Etc/UTC", "jobTemplate": sync_spec()}
    cron = {"apiVersion": "ray.io/v1", "kind": "RayCronJob", "metadata": {"name": "embermill-sync"}, "spec": schedule}
    return {
        path: said + SAID + yaml.dump(held, Dumper=Plain, sort_keys=False, width=150)
        for path, said, held in ((SYNC, "# What the CronJob creates each night: ", job), (CRON, "# Its template is ", cron))
    }


if __name__ == "__main__":
    for path, text in derived().items():
        path.write_text(text)
