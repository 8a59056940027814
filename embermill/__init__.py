"""embermill: a corpus of texts in, Parquet shards of embeddings out. The one name that is installed.

encoder/   texts -> embeddings, a library of its own      jobs/   corpus -> Parquet dataset, on any number of workers

Both lie at the top of the source tree; here are links to them, and channel.py, which joins the stages of either. Importing this costs next to
nothing: a name is loaded when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from embermill.encoder import Encoder, describe
    from embermill.jobs.dataset.views.opening import open_dataset

__all__ = ["Encoder", "describe", "open_dataset"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "open_dataset":
        from embermill.jobs.dataset.views.opening import open_dataset

        return open_dataset
    from embermill import encoder

    return getattr(encoder, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
