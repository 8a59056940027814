"""The formats of corpus files. Each is one file, which knows its suffixes, and how a file is surveyed, cut and read; and one line in FORMATS.

document.py     a file that is one document
format.py       what a format is to the rest of the job
line_format.py  what formats of lines share                      line_sample.py   a look at the beginning of such a file
"""

from embermill.jobs.corpus.formats.csv import Csv
from embermill.jobs.corpus.formats.document import Document
from embermill.jobs.corpus.formats.format import Format
from embermill.jobs.corpus.formats.jsonl import JsonLines
from embermill.jobs.corpus.formats.parquet import Parquet
from embermill.jobs.corpus.formats.text import Text

FORMATS: dict[str, Format] = {
    form.name: form
    for form in (
        Parquet(),
        JsonLines(),
        Csv(),
        Text(),
        Document(),
    )
}
"""By the name that configurations and plans give it."""


def suffixes() -> dict[str, str]:
    """Suffix -> name of its format, in the order of FORMATS."""
    return {suffix: name for name, form in FORMATS.items() for suffix in form.suffixes}
