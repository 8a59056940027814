"""A dataset that was made with token ids that differ from transformers' is refused with the reason; one whose ids stay is continued (test_golden_datasets)."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from embermill.jobs.dataset.views.search import open_for_search, search_dataset
from embermill.jobs.errors import UsageError
from tests.jobs.command_line import Answer
from tests.jobs.golden_datasets import STORED, OldDataset

REASON = "made with token ids that differ from transformers': embed it again"
Bring = Callable[[str], OldDataset]
Run = Callable[..., Answer]


@pytest.fixture
def model(tmp_path: Path) -> Callable[[OldDataset], Path]:
    """A copy of a dataset's model, whose tokenizer_config.json says what 21abdb6 did not read beside tokenizer.json."""

    def copy(old: OldDataset) -> Path:
        source = yaml.safe_load(old.config.read_text())["model"]["source"]
        folder = tmp_path / "model"
        shutil.copytree(STORED / "models" / Path(source).name, folder)
        config = json.loads((folder / "tokenizer_config.json").read_text())
        assert (folder / "tokenizer.json").is_file() and config["do_lower_case"]
        (folder / "tokenizer_config.json").write_text(json.dumps(config | {"do_lower_case": False}))
        return folder

    return copy


@pytest.mark.parametrize("name", ["articles-killed", "articles-finished"])
def test_a_run_is_refused_and_the_advice_helps(name: str, old_dataset: Bring, command: Run, model: Callable[[OldDataset], Path], tmp_path: Path) -> None:
    old = old_dataset(name)
    source = ("--set", f"model.source={model(old)}")
    for what in ("plan", "run"):
        answer = command(what, str(old.config), *source)
        assert answer.code == 2
        assert f"model.tokenizer_settings: {REASON}. Choose another output.uri" in json.loads(answer.stdout)["error"]["message"]
    answer = command("run", str(old.config), *source, "--set", f"output.uri={tmp_path / 'anew'}")
    assert answer.code == 0, answer.errors
    assert command("run", str(old.config)).code == 0, "with the model as it was, the dataset is continued"


def test_a_search_is_refused(old_dataset: Bring, model: Callable[[OldDataset], Path]) -> None:
    old = old_dataset("articles-finished")
    with pytest.raises(UsageError, match=f"this dataset was {REASON}"):
        search_dataset(open_for_search(str(old.folder), model_source=str(model(old))), "open", k=1, prompt=None, device="cpu")
