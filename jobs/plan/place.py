"""Whether a dataset may be begun where output.uri says: what lies there already, and whose it is."""

from __future__ import annotations

import logging
import os

from embermill.jobs.errors import UsageError
from embermill.jobs.plan.dataset_format import read_format
from embermill.jobs.plan.files import require_place
from embermill.jobs.storage import Folder
from embermill.jobs.storage.local_path import local_path

OURS = ("quarantine", "changes", "bases")  # beside _embermill and data, where a dataset keeps its files
SHOWN = 3
log = logging.getLogger(__name__)


def require_free_place(folder: Folder) -> None:
    """UsageError where no dataset is to be begun: a folder that is somebody's home, files of another program where ours belong, what require_place refuses.

    Files of others that are in nobody's way are told.
    """
    if read_format(folder) is None:
        _require_folder_of_its_own(folder)
        for name in OURS:
            if any(True for _ in folder.list(name)):
                raise UsageError(f"{folder.root}: holds a folder {name}/ that no dataset of ours made: choose another output.uri")
        if others := _others(folder):
            shown = ", ".join(others[:SHOWN]) + (", …" if len(others) > SHOWN else "")
            what = "data/, _embermill/ and other files of the dataset would lie among them: name a new folder, unless that is what you want"
            log.warning("output.uri: %s is no dataset yet and holds other files already (%s): %s", folder.root, shown, what)
    require_place(folder)


def _require_folder_of_its_own(folder: Folder) -> None:
    if "://" in folder.root:
        return
    found = os.path.realpath(folder.root)
    for place, what in ((os.path.realpath(local_path("~")), "your home folder"), ("/", "the root of the file system")):
        if found == place:
            example = f"{found.rstrip('/')}/embeddings"
            raise UsageError(f"output.uri: {found} is {what}: expected a folder for the dataset alone: name a new one, for example {example}")


def _others(folder: Folder) -> list[str]:
    """Names in a local folder, less hidden ones and what a file system puts at its root; of an object store, which would list all that is below, none."""
    try:
        names = [] if "://" in folder.root else os.listdir(folder.root)  # noqa: PTH208 - names alone
    except OSError:  # not there yet, or told by require_writable
        return []
    return sorted(name for name in names if not name.startswith(".") and name not in ("lost+found", "_embermill"))
