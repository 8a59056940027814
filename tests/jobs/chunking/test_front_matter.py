"""Front matter of Markdown: what is taken for it, the title in it, and what the cutter makes of it."""

from __future__ import annotations

import time

import pytest

from embermill.jobs.chunking.cutter import Document
from embermill.jobs.chunking.front_matter import find_front_matter
from embermill.jobs.chunking.markdown import outline
from tests.jobs.chunking.test_cutter import cutter, require_whole

BODY = "\n# Real\n\nText.\n"


@pytest.mark.parametrize(
    ("block", "title"),
    [
        ("---\ntitle: My page\ntags: [a]\n---\n", "My page"),
        ("---\r\ntitle: 'Two: parts'  # a comment\r\n...\r\n", "Two: parts"),
        ("---  \ndate: 2024-01-02\ntitle: 2024-01-02\n---\t\n", "2024-01-02"),
        ("---\ntitle: >\n  on two\n  lines\n\nother: x\n---\n", "on two lines"),
        ("---\nnested:\n  title: no\nlist: [{title: no}, title]\n? [title]\n: no\ntitle: yes\n---\n", "yes"),
        ("---\n# a comment\ntitle: ~\n---\n", "Real"),
        ("---\ntitle: ''\n---\n", "Real"),
        ("---\ntitle: [a, list]\n---\n", "Real"),
        ("---\naliases: &all [a]\nothers: *all\n---\n", "Real"),
        ('+++\ntitle = "My page"\n[params]\ntitle = "no"\n+++\n', "My page"),
        ("+++\ndraft = true\n+++\n", "Real"),
    ],
)
def test_its_title_is_the_documents_and_it_is_no_heading(block: str, title: str) -> None:
    text = block + BODY
    found = outline(text, front_matter=True)
    assert (found.title, [heading.title for heading in found.headings]) == (title, ["Real"])
    assert found.fences == ((0, len(block)),) and text[found.headings[0].start : found.headings[0].end].strip("\r\n") == "# Real"
    assert outline(text).title != "My page" and outline(text).named is None  # of a dataset begun before


@pytest.mark.parametrize(
    "text",
    [
        "---\n\nA paragraph between two lines.\n\n---\n", "---\n# A heading\n---\n", "---\n- a\n- b\n---\n", "\n---\ntitle: x\n---\n", "----\ntitle: x\n----\n",
        "---\n---\n", "---\ntitle: x\n", "---\ntitle: x\n  --- \n",
        "---\na: b: c\n---\n", "---\n" + "[" * 5000 + "\n---\n", "---\na: b\n" + "c: d\n" * 5000 + "---\n",
        "+++\nno TOML\n+++\n", "+++\na = 1\n---\n", "", "---",
    ],
)  # fmt: skip
def test_what_is_none_is_read_as_before(text: str) -> None:
    assert find_front_matter(text) is None and outline(text, front_matter=True) == outline(text)


def test_it_is_all_of_the_document() -> None:
    assert outline("---\ntitle: x\n---", front_matter=True).headings == ()


@pytest.mark.parametrize("hard", ["[" * 16_000, "a: " + "[" * 16_000, "{a: [" * 3000, "? " * 8000, "{" + "[a], " * 3000 + "}"])
def test_no_block_takes_long(hard: str) -> None:
    begin_s = time.process_time()
    find_front_matter(f"---\n{hard}\n---\n")
    find_front_matter(f"+++\na = {hard}\n+++\n")
    assert time.process_time() - begin_s < 5


def test_nothing_of_it_is_lost_and_none_of_it_is_in_a_prefix() -> None:
    text = "---\ntitle: Fox\ntags: [a]\n---\n\n### Dog\n\n" + "The lazy dog. " * 80
    with_block, without = (cutter("wordpiece", 128, headings=True).cut([Document(text, (), True, found)])[0] for found in (True, False))
    require_whole(text, with_block.chunks)
    assert {chunk.prefix.text for chunk in with_block.chunks} == {"", "Dog\n\n"}
    assert any("title" in chunk.prefix.text for chunk in without.chunks)
