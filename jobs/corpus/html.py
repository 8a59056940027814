"""Text of an HTML page, by Resiliparse (extra `html`): all that a reader would see, block by block; what the main part is, is not guessed.

Another version may give another text, hence other vectors: a dataset is read by the version that it was begun with, or not at all.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from functools import cache

from embermill.jobs.errors import UsageError

LIBRARY = "resiliparse"
INSTALL = "pip install 'embermill[html]'"


@cache
def html_extractor() -> str:
    """Name and version of what is installed; "" where nothing is."""
    try:
        return f"{LIBRARY} {importlib.metadata.version(LIBRARY)}"
    except importlib.metadata.PackageNotFoundError:
        return ""


def require_html_extractor(path: str) -> str:
    """Name and version, for a dataset that is begun. UsageError where it is not installed."""
    if found := html_extractor():
        return found
    raise UsageError(f"{path}: text is made of HTML by {LIBRARY}, which is not installed: {INSTALL}, on every node; or name other files in corpus.files")


def require_same_extractor(pinned: str, what: str) -> None:
    """UsageError where a dataset would be continued with another version than it was begun with. what: the dataset, or a file."""
    if pinned and pinned != html_extractor():
        library, _, version = pinned.partition(" ")
        there = html_extractor() or "none"
        advice = f"pip install {library}=={version}, on every node, or choose another output.uri"
        raise UsageError(f"{what}: text of HTML was made by {pinned} in this dataset, and {there} is installed here: {advice}")


def extract(html: str, path: str, pinned: str) -> tuple[str, str | None]:
    """(text, title) of a page; the title is None where it has none. pinned: of the dataset. UsageError where that is not what is installed."""
    if not pinned:
        raise UsageError(f"{path}: this dataset was begun without HTML files, so nothing is settled about their text: choose another output.uri")
    require_same_extractor(pinned, path)
    tree = importlib.import_module(f"{LIBRARY}.parse.html").HTMLTree.parse(html)
    make_text = importlib.import_module(f"{LIBRARY}.extract.html2text").extract_plain_text
    text: str = make_text(tree, preserve_formatting=True, main_content=False, list_bullets=True, alt_texts=True, links=False, form_fields=False, noscript=False)
    title = " ".join(word for word in (tree.title or "").replace("\n", " ").split(" ") if word)
    return text, title or None
