"""The edits of the demo's corpus: some docstrings, once."""

from __future__ import annotations

import pyarrow as pa

from infra.demo.edit_corpus import MODULE, SENTENCE, edit


def test_only_the_docstrings_of_one_module_are_edited_and_only_once() -> None:
    table = pa.table({"id": ["a", "b", "c"], "title": ["A", "B", "C"], "body": ["one", "two", "three"], "module": ["zipfile", MODULE, f"{MODULE}.x"]})
    edited, count = edit(table)
    assert (edited.column("body").to_pylist(), count) == (["one", f"two {SENTENCE}", "three"], 1)
    assert edited.drop_columns("body").equals(table.drop_columns("body"))
    again, count = edit(edited)
    assert again.equals(edited) and count == 0
