"""Runs on the head of a cluster, sent there by `embermill submit`: looks at every node, then becomes `embermill` with the arguments given here.

    python3 embermill-start.py [--one-node] ARGUMENT...       --one-node: the head alone is there, so no other node is asked

It may import nothing of embermill, which is one of the things it looks for, and little of Python: whatever `python3` is on the head's PATH runs it.
One line, REPORT and a JSON object, tells the submitter what was found; with `refused` in it nothing was started, and the exit code is 2.
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

REPORT = "embermill-start: "
PHASE = 'looking at every node | progress {"phase": "looking for embermill on every node"}'
ONE_NODE = "--one-node"
REFUSED = 2
WAIT_S = 60  # for a node's answer: its first worker process of a job takes seconds to start


def main() -> int:
    python = clusters_python()
    if python is None:
        return refuse("no Python with Ray was found on the head: start Ray with the Python environment that embermill is installed in")
    if python != sys.executable:
        os.execv(python, [python, *sys.argv])
    head = look()
    if head["embermill"] is None:
        return refuse(f"embermill is not installed on the head ({python}): install embermill[cluster] on the head and on every node")
    arguments = sys.argv[1:]
    others: dict[str, dict[str, str | None]] = {}
    silent: list[str] = []
    if arguments[:1] == [ONE_NODE]:
        arguments = arguments[1:]
    else:
        print(PHASE, flush=True)
        others, silent = ask_nodes()
    missing = sorted(node for node, found in others.items() if found["embermill"] is None)
    if missing:
        return refuse(f"embermill is not installed on {listed(missing)}: install embermill[cluster] there, in the environment that Ray runs in")
    other = sorted(node for node, found in others.items() if found["embermill"] != head["embermill"])
    if other:
        versions = ", ".join(sorted({str(others[node]["embermill"]) for node in other}))
        return refuse(f"the head has embermill {head['embermill']}, but {listed(other)} {versions}: install one version everywhere")
    report({"embermill": head["embermill"], "python": head["python"], "nodes": 1 + len(others), "silent": sorted(silent)})
    os.execv(python, [python, "-P", "-m", "embermill", *arguments])


def report(found: dict[str, Any]) -> None:
    print(REPORT + json.dumps(found), flush=True)


def refuse(why: str) -> int:
    report({"refused": why})
    return REFUSED


def listed(nodes: list[str]) -> str:
    return ", ".join(nodes[:5]) + (f" and {len(nodes) - 5} more nodes" if len(nodes) > 5 else "")


def clusters_python() -> str | None:
    """This Python where it has Ray; else the one that this machine's raylet of the job's cluster starts workers with."""
    if find_spec("ray"):
        return sys.executable
    cluster = os.environ.get("RAY_ADDRESS")  # Ray tells a job its cluster so
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            program, *arguments = file.read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        said = dict(argument.lstrip("-").split("=", 1) for argument in arguments if "=" in argument)
        if Path(program).name != "raylet" or (cluster and said.get("gcs-address", cluster) != cluster):
            continue
        python = said.get("python_worker_command", "").split(" ")[0]
        if python and python != sys.executable and Path(python).is_file():
            return python
    return None


def look() -> dict[str, str | None]:
    """What this process's Python has."""
    from importlib.metadata import PackageNotFoundError, version
    from importlib.util import find_spec

    try:
        found = version("embermill") if find_spec("embermill") else None
    except PackageNotFoundError:
        found = "of unknown version"
    return {"embermill": found, "python": ".".join(map(str, sys.version_info[:3]))}


def ask_nodes() -> tuple[dict[str, dict[str, str | None]], list[str]]:
    """({address of a node that can work: what its Python has}, addresses of those that did not answer), this node left out."""
    import ray as library
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray: Any = library  # its annotations say less than it does
    ray.init(address="auto", log_to_driver=False, logging_level="ERROR", configure_logging=False)
    here = ray.get_runtime_context().get_node_id()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != here and able(node["Resources"])]
    asked = {ask(ray, NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)): node["NodeManagerAddress"] for node in nodes}
    answered, late = ray.wait(list(asked), num_returns=len(asked), timeout=WAIT_S) if asked else ([], [])
    found, silent = {}, [asked[reference] for reference in late]
    for reference in answered:
        try:
            found[asked[reference]] = ray.get(reference)
        except Exception:  # the node was lost meanwhile: the job will not use it either
            silent.append(asked[reference])
    ray.shutdown()
    return found, silent


def able(resources: dict[str, float]) -> bool:
    """Whether a worker could be placed there."""
    return resources.get("CPU", 0) >= 1 or resources.get("GPU", 0) >= 1


def ask(ray: Any, node: Any) -> Any:
    return ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=node)(look).remote()


if __name__ == "__main__":
    sys.exit(main())
