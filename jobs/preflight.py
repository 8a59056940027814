"""What a run refuses before it starts a worker, and `embermill plan` in the same words: a worker takes its time to start, and would find the same."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from embermill.counts import agreeing, several
from embermill.jobs.config import CorpusConfig, JobConfig, ModelConfig, require_unsigned
from embermill.jobs.corpus.html import require_same_extractor
from embermill.jobs.dataset.metadata.manifest import read_manifest_root
from embermill.jobs.dataset.metadata.versions import BASE, UPSERTS, read_version
from embermill.jobs.engine import Prompts
from embermill.jobs.engine.cutter import make_cutter
from embermill.jobs.engine.loading import describe_engine, engine_prompts, preview_engine
from embermill.jobs.errors import JobError, UsageError
from embermill.jobs.plan.changes import changed_keys, require_unchanged
from embermill.jobs.plan.files import Plan
from embermill.jobs.plan.forecast import Prospect
from embermill.jobs.plan.listing import CorpusListing, changes_since, compare_listings, list_corpus, survey_files, tell_passed_over
from embermill.jobs.plan.place import require_free_place
from embermill.jobs.plan.planning import check_columns
from embermill.jobs.shard.names import require_apart
from embermill.jobs.storage import Folder
from embermill.jobs.vectors.choosing import choose_vectors
from embermill.jobs.vectors.form import stored_vectors
from embermill.jobs.wording import units

BESIDE_TEXT = ("corpus.keep_columns", "corpus.id_column", "corpus.types")  # what shapes rows and no text
log = logging.getLogger(__name__)


def require_possible(plan: Plan | None, config: JobConfig, folder: Folder) -> None:
    """Before anything else. plan: of the dataset that is in the folder, finished or not: it must be of the same rows and vectors. UsageError."""
    if plan is None:
        _require_free_place(config, folder)
    else:
        _require_same(plan, config, folder)


def require_exclusive(folder: Folder, *, accepted: bool = False) -> None:
    """UsageError where the storage overwrites a file that it was told to create: two runs, or a late worker, could not be kept apart there.

    accepted: the configuration takes the weaker promise; it is told.
    """
    if accepted:
        what = "names are looked up before they are written; never have more than one run at work on"
        log.warning("output.on_unconditional_puts: accept: %s %s", what, folder.root)
        return
    if not folder.creates_only_if_absent():
        raise UsageError(
            f"output.uri: {folder.root}: the store at {folder.describe_endpoint()} overwrites an object although it is told not to (If-None-Match: *), "
            "so two runs at once would break the dataset unnoticed: use a store that supports conditional writes, "
            "or set output.on_unconditional_puts: accept and make sure that never more than one run is at work"
        )


def look_ahead(config: JobConfig, limit: int | None = None, begin: Callable[[], None] | None = None) -> Prospect:
    """A new dataset (of the corpus's first `limit` rows), once it is sure that a plan can be made of corpus, model and device. UsageError and DataError.

    begin: called as soon as workers are likely to be needed, for what can be made ready beside the rest; they would fetch the model as well where the look is
    about to.
    """
    device = resolve_device(config)
    listed = None if begin is None else _listed(config.corpus)
    if begin is None or not any(info.size for _, info in listed or ()):
        begin = _nothing
    at_hand = _is_at_hand(config.model)
    if at_hand:
        begin()
    engine = preview_engine(config.model, device, search_path=(str(Path.cwd()),))
    if not at_hand:
        begin()
    if device == "gpu" and config.ray.address is None and config.model.engine == "native":
        _require_gpu_library()
    if config.model.on_long_text == "split":
        make_cutter(config, engine, search_path=(str(Path.cwd()),))
    listed = list_corpus(config.corpus) if listed is None else listed
    tell_passed_over(listed)
    files = survey_files(config.corpus, limit, listed)
    vectors = choose_vectors(config, engine.outputs, engine.shortening)
    return Prospect(device, engine, files, check_columns(config, files, stored_vectors(engine.outputs, vectors)), vectors)


def _nothing() -> None:
    pass


def _is_at_hand(model: ModelConfig) -> bool:
    """Whether its files lie on this machine for sure, or it is an engine of somebody's own, which only a worker makes."""
    if model.engine != "native" or model.source is None or model.source.startswith("package:"):
        return True
    return "://" not in model.source and Path(model.source).exists()


def _listed(corpus: CorpusConfig) -> CorpusListing | None:
    """None where it cannot be listed, which the survey says in its turn."""
    try:
        return list_corpus(corpus)
    except JobError:
        return None


def resolve_device(config: JobConfig, planned_device: str | None = None) -> str:
    """The workers' kind of device, "cpu" or "gpu", with no Ray started. UsageError where this machine has none such.

    What a cluster has is seen by who joins it, which a plan does not: there `auto` is taken for what it can only be, a GPU.
    """
    if config.ray.address is not None:
        return "gpu" if config.workers.device == "auto" else config.workers.device
    from embermill.jobs.pool.ray_session import private_placement

    return private_placement(config.workers, planned_device).device


def _require_gpu_library() -> None:
    """Workers of a private Ray run in the driver's own environment; those of a cluster have theirs, and say so themselves."""
    from embermill.jobs.pool.ray_session import gpu_library_here

    if not gpu_library_here():
        extras = "embermill[cuda12], [cuda13] or [rocm]"
        raise UsageError(f"workers.device: gpu: CuPy is not installed here: install the extra for your GPU ({extras}), or set workers.device: cpu")


def find_prompts(config: JobConfig, plan: Plan | None) -> Prompts | None:
    """What is put before documents and queries: a dataset keeps the document's for good. None where the engine does not say."""
    model = config.model if plan is None else config.as_planned(plan).model
    return engine_prompts(model, search_path=(str(Path.cwd()),))


def report_private_ray(config: JobConfig) -> None:
    """Of a configuration for a cluster on a Ray of this machine's own: what has no effect there."""
    if config.workers.autoscaling and config.ray.address is None:
        log.warning(
            "workers.autoscaling: true has no effect on this machine alone (ray.address: null): `embermill submit` sends the job to a cluster, "
            "and on its head --set ray.address=auto joins it"
        )


def report_changes(plan: Plan, config: JobConfig) -> None:
    """Of an unfinished dataset: its plan is immutable, so what came later is left out, and said. What changed is compared by the run (rereading.py)."""
    appeared, changed = changes_since(plan.listing, config.corpus)
    if appeared:
        log.warning("%s appeared after this dataset was planned, outside of it: %s", several(len(appeared), "corpus file"), _first_of(appeared))
    if changed and not plan.holds_input_digests:
        advice = "another output.uri makes a dataset of the corpus as it is now"
        files = several(len(changed), "corpus file")
        log.warning("%s changed after this dataset was planned, which holds what was there then: %s; %s", files, _first_of(changed), advice)


def report_other_listing(ours: Plan, theirs: Plan) -> None:
    """Another run has written the plan that holds: say where it saw another corpus than this run."""
    differences = compare_listings(ours.listing, theirs.listing)
    for paths, what in zip(differences, ("are not in its plan", "are in its plan and not seen by this run", "had another size or version for it"), strict=True):
        if paths:
            log.warning("another run planned this dataset at the same time: %s %s: %s", several(len(paths), "corpus file"), what, _first_of(paths))


def _require_free_place(config: JobConfig, folder: Folder) -> None:
    require_unsigned(config)
    require_free_place(folder)
    require_apart(config, folder.root)


def _require_same(plan: Plan, config: JobConfig, folder: Folder) -> None:
    finished = read_manifest_root(folder) is not None
    changes = changed_keys(plan, config, finished=finished)
    require_same_extractor(plan.rows.html_extractor, folder.root)
    if finished and changes and all(change.partition(":")[0] in BESIDE_TEXT for change in changes):
        _raise_other_columns(folder, changes, units(plan.rows.is_chunked)[1])
    if finished and plan.id_stability == "column" and [change.partition(":")[0] for change in changes] == ["corpus.files"]:
        _raise_other_corpus(folder, changes[0])
    require_unchanged(plan, config, finished=finished)
    fingerprint = describe_engine(config.as_planned(plan).model, search_path=(str(Path.cwd()),))
    if fingerprint is not None:
        require_unchanged(plan, config, fingerprint, finished=finished)


def _raise_other_corpus(folder: Folder, change: str) -> NoReturn:
    """A corpus that was moved looks like another one: by its listing each file would be new, and with corpus.complete each row of the old ones gone."""
    raise UsageError(
        f"{folder.root}: this dataset was made of another corpus: {change}. Set it back. If the corpus was moved, make it reachable where it was, by a link "
        f"or a mount, or run `embermill sync` with another output.uri and --reuse {folder.root}, which takes the vectors from here"
    )


def _raise_other_columns(folder: Folder, changes: list[str], unit: str) -> NoReturn:
    """Every row of every shard would be written again, vectors included: that is another dataset, and it takes its vectors from this one."""
    version = read_version(folder)
    size, rows = sum(file.bytes for file in version.of_kind(BASE, UPSERTS)), version.totals["rows"]
    written = agreeing(rows, f"its only {unit}", f"all {several(rows, unit)}")
    raise UsageError(
        f"{folder.root}: this dataset was made with other settings: {'; '.join(changes)}. These columns stand in every {unit}, so another choice of them "
        f"makes another dataset: {written} would be written anew ({size:,} bytes), and no text embedded again. Set them back, or run "
        f"`embermill sync` with another output.uri and --reuse {folder.root}, which takes the vectors from here"
    )


def _first_of(paths: list[str]) -> str:
    return ", ".join(paths[:3]) + (", …" if len(paths) > 3 else "")
