"""The walls of the house: what may import what, and how large a room may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("encoder", "jobs")  # of embermill
MAX_LINES, MAX_TEST_LINES = 350, 400  # tests mirror their source, and a table of cases is long without being two things
TORCH = {"torch", "tensorflow", "jax", "transformers", "sentence_transformers"}
FILES = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
SHARED_BY_BOTH = {f"embermill.{name}": ROOT / f"embermill/{name}.py" for name in ("channel", "counts", "credentials", "side_process", "side_program")}
MODULES = SHARED_BY_BOTH | {"embermill." + ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


@cache
def imports(module: str) -> tuple[tuple[str, bool], ...]:
    """(what it imports, whether that happens when the module itself is imported) for every import statement of a module."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    return tuple((name, at_once) for statement, at_once in statements(tree, True) for name in imported(statement))


def statements(node: ast.AST, at_once: bool) -> Iterator[tuple[ast.stmt, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, at_once
        else:
            for_types = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from statements(child, at_once and not for_types and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef))


def imported(statement: ast.stmt) -> Iterator[str]:
    if isinstance(statement, ast.Import):
        yield from (alias.name for alias in statement.names)
    elif isinstance(statement, ast.ImportFrom):
        assert statement.level == 0 and statement.module, "imports are absolute here"
        for alias in statement.names:
            whole = f"{statement.module}.{alias.name}"
            yield whole if whole in MODULES else statement.module


def run_blocked(code: str, blocked: set[str]) -> subprocess.CompletedProcess[str]:
    """`code` in a fresh interpreter where importing any of the `blocked` packages fails."""
    block = f"""
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if any((name + ".").startswith(blocked + ".") for blocked in {sorted(blocked)!r}):
            raise ModuleNotFoundError(f"{{name}} is blocked", name=name)
sys.meta_path.insert(0, Blocked())
"""
    return subprocess.run([sys.executable, "-c", block + code], cwd=ROOT, capture_output=True, text=True)


def test_asking_the_command_line_for_help_needs_nothing_but_the_standard_library() -> None:
    heavy = {"ray", "cupy", "numpy", "pyarrow", "pydantic", "obstore", "rich", "yaml", "embermill.encoder", *TORCH}
    done = run_blocked("from embermill.jobs.cli import main; sys.exit(main(['--help']))", heavy)
    assert done.returncode == 0 and "exit codes:" in done.stdout, done.stderr


def test_sending_a_job_to_a_cluster_reads_no_corpus() -> None:
    """A third of the time that `submit` takes to be ready went into what only workers need."""
    heavy = {"pyarrow", "numpy", "cupy", "embermill.encoder", "embermill.jobs.corpus.formats", *TORCH}
    code = "import embermill.jobs.submit.submitting, embermill.jobs.driver.display; from embermill.jobs.config import read_config"
    done = run_blocked(code, heavy)
    assert done.returncode == 0, done.stderr


def test_the_encoder_needs_neither_ray_nor_cupy_nor_the_job() -> None:
    done = run_blocked("from embermill import encoder; [getattr(encoder, name) for name in encoder.__all__]", {"ray", "cupy", "embermill.jobs", *TORCH})
    assert done.returncode == 0, done.stderr


def test_importing_the_encoder_is_light() -> None:
    heavy = {"tokenizers", "huggingface_hub", "pyarrow", "ray", "cupy", "rich", "pydantic", *TORCH}
    done = run_blocked(f"import embermill.encoder, sys; print(*sorted(set(sys.modules) & {heavy!r}))", set())
    assert done.stdout.strip() == "", f"import encoder pulls in {done.stdout}"


def test_nothing_imports_torch() -> None:
    assert not {(module, name) for module in MODULES for name, _ in imports(module) if name.partition(".")[0] in TORCH}


def importers(package: str) -> set[str]:
    return {module for module in MODULES if any((name + ".").startswith(package + ".") for name, _ in imports(module))}


def test_ray_is_imported_by_its_pool_submitter_and_metrics_alone() -> None:
    pool, submit = "embermill.jobs.pool", "embermill.jobs.submit"
    ours = {f"{pool}.{name}" for name in ("actor", "ray_pool", "ray_session", "demand", "lean_ray")} | {f"{submit}.{name}" for name in ("cluster", "start")}
    assert importers("ray") <= ours | {"embermill.jobs.metrics.ray_metrics"}


def test_what_both_packages_share_imports_neither() -> None:
    assert {f"embermill.{path.stem}" for path in (ROOT / "embermill").glob("*.py") if not path.stem.startswith("__")} == set(SHARED_BY_BOTH)
    assert not [name for module in SHARED_BY_BOTH for name, _ in imports(module) if name.startswith("embermill") and name not in SHARED_BY_BOTH]


def test_the_encoder_knows_nothing_of_the_job() -> None:
    assert not {module for module in importers("embermill.jobs") if module.startswith("embermill.encoder")}


def test_the_job_touches_the_encoder_in_few_places_inside_functions() -> None:
    job = {module for module in importers("embermill.encoder") if module.startswith("embermill.jobs")}
    commands = {f"embermill.jobs.commands.{name}" for name in ("model", "bench", "weights")}
    assert job <= commands | {"embermill.jobs.engine.native", "embermill.jobs.errors"}  # errors: what the encoder's own mean for the job
    assert not [name for module in job for name, at_once in imports(module) if at_once and name.startswith("embermill.encoder")]


def require_no_cycle(graph: dict[str, set[str]]) -> None:
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


def test_imports_make_no_cycle() -> None:
    require_no_cycle({module: {name for name, at_once in imports(module) if at_once and name in MODULES} - {module} for module in MODULES})


def room(module: str) -> str:
    """The package right below `embermill.jobs` that a module is in, or the module itself where it lies beside them; the dataset is two rooms."""
    parts = module.split(".")
    return ".".join(parts[: 4 if parts[2:3] == ["dataset"] else 3])


def test_rooms_of_the_job_make_no_cycle() -> None:
    """Whenever it happens: an import inside a function, or for types alone, points down as well."""
    graph: dict[str, set[str]] = {}
    for module in (module for module in MODULES if module.startswith("embermill.jobs.")):
        graph.setdefault(room(module), set()).update({room(name) for name, _ in imports(module) if name.startswith("embermill.jobs.")} - {room(module)})
    assert len(graph) > 10
    require_no_cycle(graph)


def test_what_a_dataset_is_knows_nothing_of_how_it_is_looked_at() -> None:
    assert not [module for module in importers("embermill.jobs.dataset.views") if module.startswith("embermill.jobs.dataset.metadata")]


def test_the_public_face_is_sorted_and_complete() -> None:
    from embermill import encoder
    from embermill.encoder import errors

    assert list(encoder.__all__) == sorted(encoder.__all__)
    source = ast.parse(MODULES["embermill.encoder"].read_text(encoding="utf-8"))
    homes = [node for node in ast.walk(source) if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("embermill.encoder.")]
    shown = {alias.name for home in homes for alias in home.names}
    assert set(encoder.__all__) == shown | {name for name in vars(errors) if name.endswith("Error")}
    assert all(getattr(encoder, name).__module__.startswith("embermill.encoder.") for name in encoder.__all__)


def test_no_file_is_two_rooms() -> None:
    tests = [*(ROOT / "tests").rglob("*.py")]
    files = [*FILES, *tests, *(ROOT / "infra").rglob("*.py")]
    sizes = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files}
    assert not {path.relative_to(ROOT).as_posix(): lines for path, lines in sizes.items() if lines > (MAX_TEST_LINES if path in tests else MAX_LINES)}
