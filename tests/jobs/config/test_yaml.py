"""YAML that only an attack or an accident would be: refused in one line, whatever it is, and never by a traceback."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from embermill.jobs.config import load_config
from embermill.jobs.config.yaml import parse_yaml
from embermill.jobs.errors import UsageError
from tests.jobs.command_line import command

LAUGHS = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(f"b{n}: &b{n} [{','.join(['*a' if n == 0 else f'*b{n - 1}'] * 10)}]\n" for n in range(9))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("model: " + "[" * 900 + "]" * 900, "line 1: nested more than 19 levels deep"),
        ("model: " + "{a: " * 100_000, "nested more than 19 levels deep"),
        ("\n".join(" " * n + "a:" for n in range(900)), "line 20: nested more than 19 levels deep"),
        (LAUGHS, "more than 100,000 values, aliases counted as what they stand for"),
        ("model: &a [*a]", "line 1: an alias stands for nothing that ends before it (a text that begins with * needs quotes)"),
        ("? [a]\n: b", "a key is a text, not a list or a mapping"),
        ("? {a: b}\n: b", "a key is a text, not a list or a mapping"),
        ("model: !!python/object:os.system x", "could not determine a constructor"),
        ("model: 2024-13-45", "month must be in 1..12"),
        ("a: 1\n---\nb: 2", "expected a single document"),
        ("model: !!binary x", "failed to decode base64 data"),
    ],
    ids=range(11),
)
def test_one_line_and_exit_2(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "job.yaml").write_text(text)
    answer = command("plan", str(tmp_path / "job.yaml"))
    assert answer.code == 2 and words in answer.errors and len(answer.errors) < 600
    assert answer.errors.count("\n") == 1, "one line, no traceback"


def test_anchors_within_reason_are_read() -> None:
    assert parse_yaml("a: &x [1, 2]\nb: *x\n", "job") == {"a": [1, 2], "b": [1, 2]}


@given(st.text(alphabet="ab:[]{}&*!?-|>'\"#,% \n\t0<\x00é", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(UsageError):
        parse_yaml(text, "job")


def test_values_of_every_kind_are_described(tmp_path: Path) -> None:
    for value in ("1", "1.5", "true", "2024-01-01", "[1]", "{a: 1}", "!!set {a}", "!!omap [a: 1]", "!!pairs [a: 1]", "!!binary YQ==", "null", "{1: 2}"):
        for key in ("model", "corpus", "model.source", "corpus.files", "corpus.keep_columns", "corpus.types", "workers.count", "1", "ray.address"):
            section, _, name = key.partition(".")
            (tmp_path / "job.yaml").write_text(f"{section}: {{{name}: {value}}}\n" if name else f"{section}: {value}\n")
            with pytest.raises(UsageError):
                load_config(tmp_path / "job.yaml")
