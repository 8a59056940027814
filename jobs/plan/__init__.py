"""What there is to do. In go configuration and corpus; out comes a Plan, which is written once and never changed.

listing.py       what is known of the corpus before: files, columns, rows, bytes of text
file_columns.py  columns of files against the schema that is pinned
packing.py       files -> partitions, by content
planning.py      make_plan: schema and partitions, what was `auto` made definite
files.py         Plan, and its files in the dataset
place.py         whether a dataset may be begun there
changes.py       configuration keys that differ from a plan's
forecast.py      what a run would do, without doing it        splitting.py   and what long texts would be as chunks
"""
