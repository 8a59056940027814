"""What pydantic finds wrong with a configuration, in our words: the key, once, what was expected and what came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from embermill.credentials import without_credentials

_EXPECTED = {
    "string_type": "a text (in quotes where YAML would read something else)",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "tuple_type": "a list",
    "missing": "a value: this key has no default",
    "model_type": "a section with keys",
    "string_too_short": "a text that is not empty",
    "extra_forbidden": "no such key",
}
DEEPER = ("output", "vectors")  # a key whose entries have keys: four parts say which


class WrongKey(ValueError):
    """What a section as a whole refuses. key: in it, of which `said` is true. others: keys that do not go with it; with a dot, of another section."""

    def __init__(self, key: str, said: str, *others: str) -> None:
        super().__init__(said)
        self.key, self.others = key, others


@dataclass(frozen=True)
class Problem:
    """key: that is wrong, "" where `said` names it. keys: that and those that do not go with it: whoever set one of them is to be told."""

    key: str
    said: str
    keys: tuple[str, ...]

    @property
    def words(self) -> str:
        return f"{self.key}: {self.said}" if self.key else self.said


def describe_invalid(error: ValidationError) -> Iterator[str]:
    """One sentence for each key that is wrong."""
    return (problem.words for problem in find_invalid(error))


def find_invalid(error: ValidationError) -> Iterator[Problem]:
    """One for each key that is wrong; the branches of a union count as one."""
    found: dict[str, tuple[list[str], object, tuple[str, ...]]] = {}
    for problem in error.errors(include_url=False, include_context=True):
        key, others = _keys(problem)
        expected, *_ = found.setdefault(key, ([], problem["input"], others))
        expected.append(_expectation(problem))
    for key, (expected, got, others) in found.items():
        stands_alone = any(text.startswith("!") for text in expected)
        wanted = " or ".join(dict.fromkeys(text.lstrip("!") for text in expected))
        yield Problem(key, wanted if stands_alone else f"expected {wanted}, got {_shown(got, expected)}", (key, *others))


def _keys(problem: Any) -> tuple[str, tuple[str, ...]]:
    """The key that is wrong, and those that do not go with it."""
    place = [str(part) for part in problem["loc"][: 4 if problem["loc"][:2] == DEEPER else 2]]
    raised = problem.get("ctx", {}).get("error")
    if not isinstance(raised, WrongKey):
        return ".".join(place) or "the configuration", ()
    return ".".join([*place, raised.key]), tuple(other if "." in other else ".".join([*place, other]) for other in raised.others)


def _expectation(problem: Any) -> str:
    kind, context = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return "!" + str(context["error"])
    if kind == "missing":
        return "!" + ("expected a section with keys, got none" if len(problem["loc"]) == 1 else _EXPECTED[kind])
    if kind == "literal_error":
        return str(context["expected"])
    for bound, sign in (("gt", ">"), ("ge", ">="), ("lt", "<"), ("le", "<=")):
        if bound in context:
            return f"a number {sign} {context[bound]}"
    return _EXPECTED.get(kind, str(problem["msg"]))


def _shown(got: object, expected: list[str]) -> str:
    if got is None:
        return "nothing (`~`, `null` and an empty value are YAML's words for that; a text that says so needs quotes: key='\"~\"')"
    text = without_credentials(repr(got))
    text = text if len(text) <= 80 else text[:77] + "..."
    advice = " (a text with a colon needs quotes: key='\"query: \"')" if isinstance(got, dict) and any("a text" in wanted for wanted in expected) else ""
    return f"{text} ({type(got).__name__}){advice}"
