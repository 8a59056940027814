"""Creates the RayJob and waits for its end, so that the CronJob's concurrencyPolicy counts it: the pod that creates it is at work as long as it is.

Needs PyYAML and nothing else; runs in embermill's own image. The address and the credentials of Kubernetes' API are those that a pod is given.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import yaml

API = os.environ.get("KUBERNETES_API", "https://kubernetes.default.svc")
GIVEN = Path(os.environ.get("SERVICE_ACCOUNT", "/var/run/secrets/kubernetes.io/serviceaccount"))
POLL_S = float(os.environ.get("POLL_S", "20"))
MOST_FAILURES = 15  # of the API, one after another


def main(template: str) -> int:
    jobs = f"/apis/ray.io/v1/namespaces/{(GIVEN / 'namespace').read_text().strip()}/rayjobs"
    name = ask("POST", jobs, yaml.safe_load(Path(template).read_text()))["metadata"]["name"]
    print(f"{name} was created", flush=True)
    failures, status = 0, dict[str, Any]()
    while True:
        time.sleep(POLL_S)
        try:
            status = ask("GET", f"{jobs}/{name}").get("status", {})
            failures = 0
        except urllib.error.HTTPError as error:
            if error.code == 404:
                print(f"{name} was deleted", file=sys.stderr)
                return 1
            failures += 1
        except OSError:
            failures += 1
        if failures > MOST_FAILURES:
            print(f"the API of Kubernetes does not answer; {name} goes on by itself", file=sys.stderr)
            return 1
        if status.get("jobDeploymentStatus") == "Complete" and status.get("jobStatus") == "SUCCEEDED":
            return 0
        if status.get("jobDeploymentStatus") in ("Complete", "Failed"):
            print(f"{name} failed: {status.get('message', 'KubeRay does not say why')}", file=sys.stderr)
            return 1


def ask(method: str, path: str, body: Any = None) -> dict[str, Any]:
    """The API's answer. The token is read each time, since Kubernetes renews it."""
    headers = {"Authorization": f"Bearer {(GIVEN / 'token').read_text().strip()}", "Content-Type": "application/json"}
    request = urllib.request.Request(API + path, None if body is None else json.dumps(body).encode(), headers, method=method)
    context = ssl.create_default_context(cafile=str(GIVEN / "ca.crt")) if API.startswith("https:") else None
    with urllib.request.urlopen(request, timeout=60, context=context) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
