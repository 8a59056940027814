"""Who is making which version: `_embermill/claims/000041.json`, created if absent, says what number 41 is to become.

A killed maker that comes back with the same claim resumes its number, under which its files stand. Anybody else abandons that number first and takes the
next one, so that the files of two makers never meet under one number. Call this under the lease only: it would abandon what another run is making.
"""

from __future__ import annotations

from typing import Any

from embermill.jobs.bookkeeping.seal import read_json, sealed_json
from embermill.jobs.dataset.metadata.versions import Version, abandon_version, next_number, read_version
from embermill.jobs.errors import MetadataDamaged
from embermill.jobs.storage import AlreadyExists, Folder

CLAIMS = "_embermill/claims"


def claim_number(folder: Folder, cause: str, details: dict[str, Any]) -> tuple[int, Version]:
    """(the number to make, its parent). details: JSON, all that decides what is made; another parent or other details are another claim."""
    while True:
        number, parent = next_number(folder), read_version(folder)
        claim = {"number": number, "cause": cause, "parent": parent.number, "details": details}
        standing = _read_or_create(folder, number, claim)
        if standing == claim:
            return number, parent
        abandon_version(folder, number, f"an unfinished {standing.get('cause', 'version')} gave way to this {cause}")


def read_claim(folder: Folder, number: int) -> dict[str, Any] | None:
    """What somebody said that this number is to become; None where nobody did. MetadataDamaged where that cannot be read."""
    name = f"{CLAIMS}/{number:06d}.json"
    try:
        return read_json(folder.read(name), frozenset())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise MetadataDamaged(folder.root, name, f"is damaged: {error}", "Move it away: it only says what was being made") from None


def _read_or_create(folder: Folder, number: int, claim: dict[str, Any]) -> dict[str, Any]:
    try:
        folder.create(f"{CLAIMS}/{number:06d}.json", sealed_json(claim))
    except AlreadyExists:
        found = read_claim(folder, number)
        assert found is not None
        return found
    return claim
