"""Addresses that carry a credential in their query (`https://…/model?X-Amz-Signature=…`), and datasets, which more people read than the configuration.

The address of a model is written into plans without it; model.source may change from run to run, so a fresh signature is no other job. Who has no
configuration but the plan's (`redrive`, `repair`, `search`) must be given the address again. A corpus and a dataset are never reached by such an address:
what stands behind the `?` would be part of a key.
"""

from __future__ import annotations

from collections.abc import Mapping

from embermill.credentials import is_signed, lacks_signature, without_signature
from embermill.jobs.config.job_config import JobConfig
from embermill.jobs.errors import UsageError

SOURCE = "model.source"


def kept_in_dataset(keys: Mapping[str, object]) -> dict[str, object]:
    """keys: "section.key" -> value, as flatten gives them."""
    source = keys.get(SOURCE)
    return dict(keys) | ({SOURCE: without_signature(source)} if isinstance(source, str) else {})


def require_whole(source: str | None, root: str, advice: str) -> None:
    """source: model.source, as a plan has it unless another was given. UsageError where its signature was left out. advice: how to give it again."""
    if source is not None and lacks_signature(source):
        raise UsageError(f"{advice}: the dataset {root} does not keep the signature in the address of its model, {source}")


def require_unsigned(config: JobConfig) -> None:
    """UsageError where a corpus or a new dataset would be reached by a signature."""
    for key, addresses in (("corpus.files", config.corpus.files), ("output.uri", (config.output.uri,))):
        for address in filter(is_signed, addresses):
            raise UsageError(
                f"{key}: {without_signature(address)}: a signature in a URL is not read here, it would be part of the key: write the URL without what "
                "follows the `?`, and put credentials into the environment, for example AZURE_STORAGE_SAS_KEY"
            )
