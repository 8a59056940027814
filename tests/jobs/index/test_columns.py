"""Which columns go into an index: the same for load, check and export."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from embermill.jobs.dataset.metadata.schema import row_schema
from embermill.jobs.errors import UsageError
from embermill.jobs.export.source import Part
from embermill.jobs.index.columns import index_columns
from embermill.jobs.index.source import describe_source
from embermill.jobs.storage import open_folder
from tests.jobs.sample_dataset import make_plan

FOREIGN = make_plan(kept=(("version", "version", pa.string()), ("lang", "lang", pa.string())))
"""A dataset begun before versions, which keeps a column `version` of the corpus."""


def test_our_own_version_stays_out_and_one_of_the_corpus_goes_along() -> None:
    for tells_versions in (False, True):
        assert index_columns(make_plan(tells_versions=tells_versions)).names == {"id": "id", "embedding": "embedding", "lang": "lang"}
    assert index_columns(FOREIGN).metadata == (("version", "version"), ("lang", "lang"))


def test_load_takes_what_check_and_export_take(tmp_path: object) -> None:
    for plan, names in ((FOREIGN, {"id": "key", "version": "edition", "embedding": "vector"}), (make_plan(tells_versions=True), {"lang": "language"})):
        columns, source = index_columns(plan, None, names), describe_source(open_folder(str(tmp_path)), plan, "cosine", None, names)
        assert source.names == columns.names and source.layout.schema.names == [columns.id_name, columns.vector_name, *columns.schema.names]


def test_rows_of_such_a_dataset_are_of_its_first_version() -> None:
    batch = pa.RecordBatch.from_pylist([dict.fromkeys(row_schema(FOREIGN).names) | {"id": "a", "version": "second edition"}] * 2)
    assert np.array_equal(Part(batch, index_columns(FOREIGN)).versions, [1, 1])


@pytest.mark.parametrize(("names", "message"), [
    ({"id": "lang"}, "id and lang would both be called 'lang'"), ({"version": "x"}, "--map version=x: there is no column 'version' to rename"),
    ({"text_hash": "x"}, "expected one of id, embedding, lang"),
])  # fmt: skip
def test_names_that_cannot_be(names: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        index_columns(make_plan(tells_versions=True), None, names)
