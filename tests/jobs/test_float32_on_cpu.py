"""float32 on a CPU: compiled in a new dataset, by NumPy in one that NumPy began, whichever the processor has."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from embermill.encoder.backends.cpu.compiled.paths import PATHS
from embermill.encoder.backends.cpu.ops import NumpyOps
from embermill.encoder.backends.cpu.path_ops import open_path
from embermill.jobs.dataset.metadata.inventory import read_inventory
from embermill.jobs.storage import open_folder
from tests.encoder.tiny_bert import TinyBert, write_sentence_transformers
from tests.jobs.command_line import Answer
from tests.jobs.golden_datasets import HALF_DONE, OldDataset

BERT = TinyBert()
Embed = Callable[..., Answer]


@pytest.fixture
def wanted(tmp_path: Path) -> dict[str, str]:
    write_sentence_transformers(BERT.write(tmp_path / "model"), BERT.hidden)
    (tmp_path / "corpus").mkdir()
    texts = [f"open a zip file {'and read it ' * (row % 7)}" for row in range(40)]
    pq.write_table(pa.table({"id": [str(row) for row in range(40)], "text": texts}), tmp_path / "corpus/a.parquet")
    return {"engine": "native", "source": str(tmp_path / "model")}


def kernel_sets(folder: Path) -> set[str]:
    """Of all receipts that a computation tells of: an adopted shard's does not."""
    told = (dict(each) for each in read_inventory(open_folder(str(folder))).receipts.column("provenance").to_pylist())
    return {each["kernel_set"] for each in told if each.get("kernel_set")}


def test_a_new_dataset_is_computed_by_what_is_faster_and_says_so(embed: Embed, wanted: dict[str, str], tmp_path: Path) -> None:
    assert embed(engine=None, model=wanted, workers={"device": "cpu"}).code == 0
    assert kernel_sets(tmp_path / "out") == {open_path("float32").kernel_set}
    compiled = next(path for path in PATHS if path.precision == "float32")
    assert open_path("float32", features=compiled.needs).kernel_set.startswith(("float32 by AVX2, numpy ", "numpy "))  # the latter where nothing is built


def test_numpy_may_be_asked_for_and_is_kept(embed: Embed, wanted: dict[str, str], tmp_path: Path) -> None:
    """Neither of the two goes on with the other's vectors unnoticed."""
    asked = wanted | {"cpu_float32": "numpy"}
    assert embed(engine=None, model=asked, workers={"device": "cpu"}, output="by-numpy").code == 0
    assert kernel_sets(tmp_path / "by-numpy") == {NumpyOps().kernel_set}
    assert embed(engine=None, model=wanted, workers={"device": "cpu"}, output="by-numpy").code == 0, "auto is what the dataset has"
    assert embed(engine=None, model=wanted, workers={"device": "cpu"}).code == 0
    refused = embed(engine=None, model=asked, workers={"device": "cpu"})
    assert refused.code == 2 and "model.cpu_float32: auto -> numpy. Set them back, or choose another output.uri" in refused.stdout + refused.errors


@pytest.mark.parametrize("name", HALF_DONE)
def test_one_of_before_there_were_compiled_functions_goes_on_with_numpy(
    name: str, old_dataset: Callable[[str], OldDataset], command: Callable[..., Answer]
) -> None:
    old = old_dataset(name)
    answer = command("run", str(old.config))
    assert answer.code == 0 and answer["rows_embedded"] > 0, answer.errors
    assert NumpyOps().kernel_set in kernel_sets(old.folder) and all(each.startswith("numpy ") for each in kernel_sets(old.folder))
