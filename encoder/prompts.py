"""A model's prompts, and what a caller's word for one means: its name, or the text itself.

sentence-transformers knows the prompts `query` and `document` of every model, empty ones where the model says nothing of them, and refuses any other
name that the model lacks. There `prompt` is text alone; here, where a model is opened, it may be a name too.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from functools import cache

log = logging.getLogger(__name__)

ALWAYS_KNOWN = ("query", "document")
_NAME = re.compile(r"[A-Za-z0-9_.-]*[A-Za-z0-9_]")


def named_prompt(prompts: Mapping[str, str], name: str) -> str | None:
    """The text of the model's prompt of that name; None where there is none."""
    return prompts.get(name, "" if name in ALWAYS_KNOWN else None)


def names_of(prompts: Mapping[str, str]) -> str:
    """For a message."""
    return ", ".join(sorted(prompts)) or "none"


def named_or_text(prompts: Mapping[str, str], prompt: str) -> str:
    """`prompt`, or the text of the model's prompt of that name. Warns, once in a process, where a text looks like the name of a prompt that is not there."""
    if problem := mistaken_name(prompts, prompt):
        _warn_once(problem)
    return prompts.get(prompt, prompt)


def mistaken_name(prompts: Mapping[str, str], prompt: str) -> str | None:
    """What is wrong where `prompt` is one bare word that names none of the model's prompts: as a text, it would be glued to the first word of every text."""
    if prompt in prompts or not _NAME.fullmatch(prompt):
        return None
    return (
        f"prompt {prompt!r}: this model has no prompt of that name (its prompts: {names_of(prompts)}), and as a text it would be joined to the first word "
        f"of every text; for a text, end it with a blank or a colon"
    )


@cache
def _warn_once(problem: str) -> None:
    log.warning("%s", problem)
