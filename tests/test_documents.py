"""README and guides without running them: every command is one of ours, every link leads somewhere, every block is what it says it is."""

from __future__ import annotations

import argparse
import ast
import re
import subprocess
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from embermill.jobs.cli import build_parser
from embermill.jobs.config import KEYS, read_config
from tests.documents import DOCUMENTS, README, ROOT, Block, anchors, blocks, commands, inline_commands, links

BLOCKS = [block for file in DOCUMENTS for block in blocks(file)]
MOST_LINES = 200  # of the README: what one reads in five minutes


def of(language: str) -> list[Block]:
    return [block for block in BLOCKS if block.language == language]


def test_the_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= MOST_LINES


def test_every_block_says_its_language() -> None:
    assert {block.language for block in BLOCKS} <= {"sh", "python", "sql", "yaml", ""}


@pytest.mark.parametrize("block", of("sh"), ids=lambda block: block.name)
def test_a_shell_block_is_shell_and_its_commands_are_ours(block: Block) -> None:
    parsed = subprocess.run(["bash", "-n"], input=block.text, capture_output=True, text=True)
    assert parsed.returncode == 0, parsed.stderr
    for arguments in commands(block.text):
        build_parser().parse_args(arguments)
        for key in [found.partition("=")[0] for word, found in pairwise(arguments) if word == "--set"]:
            assert key in KEYS
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {*re.findall(r"^make (\w[\w-]*)", block.text, re.MULTILINE)} <= {*targets}


@pytest.mark.parametrize("file", DOCUMENTS, ids=lambda file: file.name)
def test_options_in_sentences_are_those_of_their_command(file: Path) -> None:
    (commands_,) = (action for action in build_parser()._actions if isinstance(action, argparse._SubParsersAction))
    for arguments in inline_commands(file):
        assert arguments[0] in commands_.choices, arguments
        known = commands_.choices[arguments[0]]._option_string_actions
        assert all(word.partition("=")[0] in known for word in arguments if re.match(r"--?[a-z]", word)), arguments


@pytest.mark.parametrize("block", of("python"), ids=lambda block: block.name)
def test_a_python_block_is_python(block: Block) -> None:
    ast.parse(block.text)


@pytest.mark.parametrize("block", of("yaml"), ids=lambda block: block.name)
def test_a_configuration_is_one(block: Block, tmp_path: Path) -> None:
    document = yaml.safe_load(block.text)
    if isinstance(document, dict) and "model" in document:
        (tmp_path / "job.yaml").write_text(block.text)
        read_config(tmp_path / "job.yaml")


def test_extras_are_there() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    for file in DOCUMENTS:
        named = re.findall(r"(?:'\.|embermill)\[([a-z0-9,-]+)\]", file.read_text())
        assert {extra for each in named for extra in each.split(",")} <= extras.keys(), file


@pytest.mark.parametrize("file", [*DOCUMENTS, ROOT / "CONTRIBUTING.md"], ids=lambda file: file.name)
def test_links_lead_somewhere(file: Path) -> None:
    for target, anchor in links(file):
        assert target.exists(), f"{file.name}: {target}"
        assert not anchor or target.suffix != ".md" or anchor in anchors(target), f"{file.name}: {target.name}#{anchor}"


def test_every_guide_is_linked_from_the_readme() -> None:
    linked = {target.resolve() for file in DOCUMENTS for target, _ in links(file)}
    assert not [guide.name for guide in DOCUMENTS[1:] if guide not in linked]
