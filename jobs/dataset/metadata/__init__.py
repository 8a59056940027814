"""What a dataset is, by its own bookkeeping. Knows nothing of the views.

commits.py         the commit log: which shards are done
receipt_table.py   receipts as a table, and their sums
completeness.py    whether receipts account for the whole plan
manifest.py        published last
inventory.py       which shards there are: whom all readers go by
why_empty.py       where every row was refused    standing.py    rows that are not as the corpus is
why_unfinished.py  and what finishes it          first_quarantined.py  an example of what was refused
consistency.py     whether plan, manifest and commits speak of the same shards
reconcile.py       what a run does first: what no commit has is committed
versions.py        what each number was decided to be, and its files      claims.py      who is making the next one
card.py            README.md, derived             schema.py      the columns of a row
keys.py            of every live row its hashes and its place   meta_hash.py, id_hash.py
lease.py           who drives                     liveness.py   whether that process is gone
"""
