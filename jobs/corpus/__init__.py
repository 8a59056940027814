"""Corpus files -> Arrow record batches. In goes a Partition; out come ids, texts, kept columns and what was refused, streamed: nothing holds a file.

reading.py       the way in: each segment to the reader of its format
rows.py          RowBatch, Refusal, RowSchema; how rows are joined and judged
columns.py       a file's columns fitted to the pinned schema (on_schema_drift)
arrow_types.py   types as the corpus has them and as the dataset stores them
lines.py         lines of a file, by byte range or front to back
text.py   jsonl.py, json_values.py   csv.py, csv_records.py   parquet.py   the formats
"""
