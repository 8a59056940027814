"""One shard. In go rows and what an engine answered; out come a published Parquet file, its quarantine and a Receipt.

writer.py        ShardWriter, which joins the others
answer.py        what an engine answered, checked
row_group.py     rows on their way to a row group
quarantine.py    rows and ranges that were refused, with reasons
text_hash.py     digests of texts
publishing.py    a finished file gets its name, and the first finisher wins
names.py         names of published files        footer.py   what their footers say, and names taken apart
contents.py      a file read back, every page checksum verified
adoption.py      files that a killed run left: taken in or set aside
"""
