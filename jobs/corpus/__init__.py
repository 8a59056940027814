"""Corpus files -> Arrow record batches. In goes a Partition; out come ids, texts, kept columns and what was refused, streamed: nothing holds a file.

formats/         one file a format: its suffixes, and how a file is surveyed, cut to pieces and read
reading.py       the way in: each segment to the reader of its format
surveyed.py      SurveyedFile: what a look at a file found           pieces.py   ranges of a file
rows.py          RowBatch, Refusal, RowSchema; how rows are joined and judged
to_cut.py        rows as documents that the cutter takes
columns.py       a file's columns fitted to the pinned schema (on_schema_drift)
arrow_types.py   types as the corpus has them and as the dataset stores them
input_digest.py  a digest of what was read for a shard

What formats are made of: lines.py (lines of a file, by byte range or front to back), json_values.py, csv_records.py, parquet_chunks.py, int96.py, html.py.
"""
