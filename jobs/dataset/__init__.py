"""A dataset as a whole: what is committed makes it, and what is published last completes it.

commits.py         the commit log: which shards are done
receipt_table.py   receipts as a table, and their sums
completeness.py    whether receipts account for the whole plan
first_quarantined.py  an example of what was refused
manifest.py        published last
inventory.py       which shards there are: whom all readers go by
agreement.py       whether plan, manifest and commits speak of the same shards
taking_stock.py    what a run does first: what no commit has is committed
liveness.py        whether the process of a heartbeat is gone
status.py   verify.py, verify_report.py, duplicates.py   equality.py   search.py   looking at a dataset
"""
