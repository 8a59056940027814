"""Regular and editable installs, and what lies beside them: the checkout, or a user's own `encoder/` and `jobs/`, as working directory, on PYTHONPATH or as
Ray's working_dir. Library, job and Ray workers run each time, and no module is loaded under two names, in the driver or in a worker."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

ROOT = Path(__file__).parent.parent
PACKAGES = Path(numpy.__file__).parent.parent  # where everything else is installed
ROWS = 40
ENVIRONMENT = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "RAY_ADDRESS", "RAY_AUTH_TOKEN")}
PROBE = textwrap.dedent("""
    import json, os, sys
    from pathlib import Path

    def names_by_file():
        found = {}
        for name, module in list(sys.modules.items()):
            file = getattr(module, "__file__", None)
            if file and name != "__main__":
                found.setdefault(os.path.realpath(file), set()).add((name, id(module)))
        return found

    def seen():
        import embermill
        places = ("embermill", "encoder", "jobs")  # others do load themselves twice (colorful, which ray[default] brings)
        of_ours = {file: names for file, names in names_by_file().items() if any(name.split(".")[0] in places for name, _ in names)}
        twice = {file: sorted(name for name, _ in names) for file, names in of_ours.items() if len({module for _, module in names}) > 1}
        ours = {name: module.__file__ for name, module in sys.modules.items() if name.split(".")[0] in places if module.__file__}
        return {"embermill": embermill.__file__, "twice": twice, "modules": ours}

    def report(folder, who):
        Path(folder, f"{who}-{os.getpid()}.json").write_text(json.dumps(seen()))

    class Engine:
        def __init__(self, model, *, device, threads):
            import embermill.encoder.encoder  # both halves in one worker
            self.folder = model.source
            report(self.folder, "worker")

        def fingerprint(self):
            return {"model.engine": "probe"}

        def outputs(self):
            from embermill.jobs.engine import Output
            return (Output("embedding", "dense", "float32", 2),)

        def embed(self, texts):
            import numpy as np
            from embermill.jobs.engine import Embedded
            for batch in texts:
                ones = np.ones(len(batch), np.int32)
                yield Embedded({"embedding": np.ones((len(batch), 2), np.float32)}, ones, 0 * ones)
            report(self.folder, "worker")
""")
DRIVE = textwrap.dedent("""
    import sys
    from embermill import Encoder
    from embermill.jobs.cli import main
    code = main(["run", sys.argv[1], "--json"])
    from probe import report
    report(sys.argv[2], "driver")
    sys.exit(code)
""")
OWN = {"encoder/__init__.py": "WHOSE = 'mine'", "jobs/__init__.py": "WHOSE = 'mine'", "jobs/engine.py": "WHOSE = 'mine'"}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what is installed from, links as links, with PROBE beside it."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in ("configs", "embermill", "encoder", "jobs"):
        shutil.copytree(ROOT / name, folder / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder / name)
    (folder / "probe.py").write_text(PROBE)
    return folder


def make_environment(folder: Path) -> Path:
    """A virtual environment that has everything but embermill; returns its Python."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "packages.pth").write_text(f"{PACKAGES}\n")
    return folder / "bin/python"


def pip_install(python: Path, *arguments: str, cwd: Path, environment: dict[str, str] = ENVIRONMENT) -> None:
    """Into that environment alone: --ignore-installed, or pip would look at the embermill that the tests themselves run on."""
    offline = ["--no-deps", "--no-index", "--no-build-isolation", "--ignore-installed", "--disable-pip-version-check", "--quiet"]
    command = [sys.executable, "-m", "pip", "--python", str(python), "install", *offline, *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def regular(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with the wheel in it. The wheel is built by the setuptools that is locked."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    shutil.copytree(checkout, source, symlinks=True)  # building leaves files behind
    build = "import sys; from setuptools.build_meta import build_wheel; print(build_wheel(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", build, str(folder)], cwd=source, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    python = make_environment(folder / "environment")
    pip_install(python, str(next(folder.glob("embermill-*.whl"))), cwd=folder)
    return python


@pytest.fixture(scope="module")
def editable(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of an environment with an editable install of a copy of the checkout."""
    folder = tmp_path_factory.mktemp("editable")
    shutil.copytree(checkout, folder / "source", symlinks=True)
    python = make_environment(folder / "environment")
    pip_install(python, "--editable", str(folder / "source"), cwd=folder)
    return python


def home_of(python: Path) -> Path:
    (site,) = (python.parent.parent).glob("lib/python*/site-packages")
    return site / "embermill"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A user's project: folders called like ours, a corpus, a job and an engine."""
    for name, text in {**OWN, "probe.py": PROBE, "drive.py": DRIVE}.items():
        (tmp_path / "project" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "project" / name).write_text(text)
    return tmp_path / "project"


def run_job(python: Path, tmp_path: Path, *, cwd: Path, pythonpath: Path | None = None, driver: tuple[str, ...] | None = None) -> list[dict[str, Any]]:
    """A job of two Ray workers; what PROBE saw in the driver and in each worker."""
    pq.write_table(pa.table({"id": [f"r{row}" for row in range(ROWS)], "text": [f"text {row}" for row in range(ROWS)]}), tmp_path / "corpus.parquet")
    seen = tmp_path / "seen"
    seen.mkdir()
    job = {
        "model": {"engine": "python:probe:Engine", "source": str(seen)},
        "corpus": {"files": [str(tmp_path / "corpus.parquet")]},
        "output": {"uri": str(tmp_path / "out")},
        "workers": {"count": 2, "device": "cpu"},
    }
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(job))
    (tmp_path / "drive.py").write_text(DRIVE)
    environment = ENVIRONMENT | ({"PYTHONPATH": str(pythonpath)} if pythonpath else {})
    command = [str(python), *(driver or (str(tmp_path / "drive.py"),)), str(tmp_path / "job.yaml"), str(seen)]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [line for line in done.stdout.splitlines() if line.startswith("{")]  # a Ray of the user's own may print of a worker's end after it
    assert json.loads(answers[-1])["rows_out"] == ROWS, done.stdout
    found = [json.loads(file.read_text()) for file in sorted(seen.iterdir())]
    assert len(found) >= 2 and [file for file in seen.iterdir() if file.name.startswith("driver")]
    return found


def require_one_name(seen: list[dict[str, Any]], homes: set[Path], own: Path | None = None) -> None:
    """Every module was loaded once; all of embermill comes from one place a process; `encoder` and `jobs` are the user's or nobody's."""
    for process in seen:
        assert process["twice"] == {}
        home = Path(process["embermill"]).parent
        assert home.resolve() in {each.resolve() for each in homes}
        for name, file in process["modules"].items():
            place = home if name.split(".")[0] == "embermill" else own
            assert place is not None and Path(file).is_relative_to(place), (name, file)


def test_a_module_under_two_names_would_be_seen(tmp_path: Path) -> None:
    (tmp_path / "probe.py").write_text(PROBE)
    load = (
        "import importlib.util, json, sys, embermill.jobs.wording as wording;"
        "spec = importlib.util.spec_from_file_location('jobs.wording', wording.__file__);"
        "sys.modules['jobs.wording'] = importlib.util.module_from_spec(spec); spec.loader.exec_module(sys.modules['jobs.wording']);"
        f"sys.path.append({str(tmp_path)!r}); import probe; print(json.dumps(probe.seen()))"
    )
    seen = json.loads(subprocess.run([sys.executable, "-c", load], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout)
    assert list(seen["twice"].values()) == [["embermill.jobs.wording", "jobs.wording"]]
    with pytest.raises(AssertionError):
        require_one_name([seen], {ROOT / "embermill"})


def in_current_folder(script: str) -> tuple[str, ...]:
    """`python -c` has the working directory first on its path, as `python -m embermill` has."""
    return ("-c", script)


@pytest.mark.parametrize("install", ["regular", "editable"])
def test_files_that_are_no_code_are_installed(install: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """The explanations of keys, which lie in configs/ and are linked, and what a report is made of."""
    program = (
        "from embermill.jobs.config.explanations import explanations; from embermill.jobs.report import page;"
        "assert len(explanations()) > 40 and (page.HERE / 'page.css').is_file() and (page.HERE / 'page.js').is_file()"
    )
    done = subprocess.run([request.getfixturevalue(install), "-c", program], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_a_compiler_it_installs_and_numpy_computes_in_every_precision(checkout: Path, tmp_path: Path) -> None:
    """One line says so, of each."""
    shutil.copytree(checkout, tmp_path / "source", symlinks=True, ignore=shutil.ignore_patterns("_kernels*", "build", "*.egg-info"))
    python = make_environment(tmp_path / "environment")
    missing = str(tmp_path / "no-compiler")
    pip_install(python, str(tmp_path / "source"), cwd=tmp_path, environment=ENVIRONMENT | {"CC": missing, "CXX": missing, "LDSHARED": missing})
    assert not list(home_of(python).rglob("_kernels*"))
    program = (
        "import logging, numpy as np; from embermill.encoder.backends import get_ops; from embermill.encoder.device import choose_device;"
        "logging.basicConfig(level=logging.INFO, format='%(levelname)s %(message)s');"
        "ops = [get_ops(choose_device('cpu'), precision, 1) for precision in ('float32', 'bfloat16', 'int8')];"
        "found = [each.linear(np.eye(16, dtype=np.float32), None)(np.ones((2, 16), np.float32)) for each in ops];"
        "assert all(np.allclose(each, 1, atol=0.02) for each in found), found"
    )
    done = subprocess.run([python, "-c", program], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    for precision in ("float32", "bfloat16", "int8"):
        said = f"INFO {precision} by NumPy on the CPU: its compiled functions are not installed"
        assert sum(line.startswith(said) for line in lines) == 1, done.stderr


def test_a_regular_install_started_in_the_checkout(regular: Path, checkout: Path, tmp_path: Path) -> None:
    seen = run_job(regular, tmp_path, cwd=checkout, driver=in_current_folder(DRIVE))
    require_one_name(seen, {checkout / "embermill", home_of(regular)})


def test_a_regular_install_with_the_checkout_on_the_path(regular: Path, checkout: Path, tmp_path: Path) -> None:
    seen = run_job(regular, tmp_path, cwd=tmp_path, pythonpath=checkout)
    require_one_name(seen, {checkout / "embermill"})


def test_a_regular_install_with_the_checkout_as_rays_working_dir(regular: Path, checkout: Path, tmp_path: Path) -> None:
    """As `ray job submit --working-dir .` gives it to driver and workers: both see the unpacked copy of the checkout first."""
    (tmp_path / "submitted.py").write_text(
        "import os, ray, runpy, sys\n"
        f"ray.init(address='local', num_cpus=2, include_dashboard=False, object_store_memory=128 << 20, runtime_env={{'working_dir': {str(checkout)!r}}})\n"
        f"runpy.run_path({str(tmp_path / 'drive.py')!r}, run_name='__main__')\n"
    )
    seen = run_job(regular, tmp_path, cwd=checkout, pythonpath=checkout, driver=(str(tmp_path / "submitted.py"),))
    homes = {Path(process["embermill"]).parent for process in seen}
    assert all((home / "jobs").is_dir() and home.name == "embermill" for home in homes)
    require_one_name(seen, homes)


def test_a_users_own_folders_called_like_ours(regular: Path, project: Path, tmp_path: Path) -> None:
    """In the working directory and on PYTHONPATH, where `ray job submit --working-dir .` puts them; the user's own code sees the user's own.

    tests/jobs/test_ray.py runs such a job with an editable install.
    """
    own = "import encoder, jobs, jobs.engine\nassert {encoder.WHOSE, jobs.WHOSE, jobs.engine.WHOSE} == {'mine'}\n"
    (project / "probe.py").write_text(own + PROBE)
    seen = run_job(regular, tmp_path, cwd=project, pythonpath=project)
    require_one_name(seen, {home_of(regular)}, own=project)


@pytest.mark.parametrize("install", ["regular", "editable"])
def test_one_name_is_installed_and_the_library_works(install: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    python: Path = request.getfixturevalue(install)
    ask = "import embermill, importlib.util as u, json; from embermill import Encoder; print(json.dumps([u.find_spec(n) is None for n in ('encoder', 'jobs')]))"
    done = subprocess.run([str(python), "-c", ask], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True)
    assert done.returncode == 0 and json.loads(done.stdout) == [True, True], done.stderr
    script = python.parent / "embermill"
    assert subprocess.run([str(script), "--version"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, check=True).stdout.strip()
