"""What the Hugging Face hub's client raises, told as what it is: no model of that name, no permission, or no way to the hub."""

from __future__ import annotations

import errno
import os

from embermill.credentials import without_credentials

SPELLING = "Check the spelling; for a private model log in (hf auth login) or set HF_TOKEN."


def explain(error: BaseException, revision: str | None) -> str:
    """What was found, and what to do; in sentences that go on after "model source NAME: no such folder here, and "."""
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError

    if isinstance(error, LocalEntryNotFoundError):
        return explain(error.__cause__, revision) if isinstance(error.__cause__, HfHubHTTPError) else _unreachable(error)
    if isinstance(error, client_error()) and not isinstance(error, HfHubHTTPError):
        return _unreachable(error)
    if isinstance(error, GatedRepoError):
        log_in = "accept them on the model's page, then log in (hf auth login) or set HF_TOKEN"
        return f"the Hugging Face hub gives it to those alone who accepted its terms: {log_in}."
    if isinstance(error, RepositoryNotFoundError):
        return f"the Hugging Face hub shows no such model to you. {SPELLING}"
    if isinstance(error, RevisionNotFoundError):
        return f"the Hugging Face hub has no revision {revision} of it: give a branch, a tag or a commit that its page lists."
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
        return f"it cannot be kept in the cache {_cache()}: {os.strerror(error.errno)}: free disk space there, or name another folder in HF_HOME."
    return f"the Hugging Face hub gave: {first_line(error)} {SPELLING} {_without_it()}"


def client_error() -> type[Exception]:
    """The base of all that the client's HTTP library raises, which is another from one version of the client to the next."""
    from huggingface_hub.errors import HfHubHTTPError

    return next(base for base in HfHubHTTPError.__mro__ if base.__name__ == "HTTPError" or base is OSError)


def first_line(error: BaseException) -> str:
    """With a full stop."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__).rstrip(".") + "."


def _unreachable(error: BaseException) -> str:
    from huggingface_hub import constants

    cause = error.__cause__ or error.__context__ or error
    if constants.HF_HUB_OFFLINE:
        return f"the Hugging Face hub is not asked while HF_HUB_OFFLINE is set: unset it. {_without_it()}"
    return f"the Hugging Face hub ({without_credentials(constants.ENDPOINT)}) cannot be reached: {_reason(cause)} {_without_it()}"


def _reason(error: BaseException) -> str:
    """Of the error that the others came of, as far as it says anything."""
    while (deeper := error.__cause__ or error.__context__) is not None and str(deeper):
        error = deeper
    said = getattr(error, "strerror", None)
    return f"{said}." if said else first_line(error)


def _without_it() -> str:
    return (
        "Without the hub give the model's folder or package:NAME/SUBDIR, or copy the model's folder of the cache from a machine that has fetched it "
        f"(models--… in {_cache()}, or where HF_HOME says): an id that lies there needs no network."
    )


def _cache() -> str:
    from huggingface_hub import constants

    return str(constants.HF_HUB_CACHE)
