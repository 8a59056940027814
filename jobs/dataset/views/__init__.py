"""Looking at a dataset; nothing here decides what it is.

status.py      how far it is
verify.py      every file read again               verify_versions.py, verify_report.py, bookkeeping.py
live_keys.py   keys made from the rows themselves
duplicates.py  ids that occur more than once       findings.py            what is worth knowing once it is finished
live.py        the rows of a version               opening.py             the same as a stream, for programs
feed.py        what changed since one              feed_files.py          the same as files
reading_rule.py  the rows of a version for DuckDB and Polars        history.py
search.py      the nearest rows of a query         compare.py             where two datasets differ
"""
