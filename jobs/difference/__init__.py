"""A version of a dataset, made from how its corpus differs from the version before. Knows no worker, pool or driver.

inputs.py        the corpus files of a version, and how a listing differs from them; pure
claim.py         step 0: the listing decides which version is made
base_keys.py     keys of what a run made, before its first sync: two kinds of task
scan.py          step 1: keys of what new and changed files hold
difference.py    step 2, for one bucket of ids; pure          differing.py   for a run of buckets, published
guards.py        what is judged before an engine works        duplicates.py  ids that occur earlier
known_texts.py   texts that have a vector already             reuse.py       in another dataset
writing.py       step 3: which rows are written, and from where each vector comes
document_cuts.py of a dataset of chunks: how documents that are written are cut    chunk_writing.py   texts that are embedded, then whole documents
selecting.py     those rows, read again                       copying.py     vectors that are copied
committing.py    step 4: deletes, key delta, contents of the version
chunk_deletes.py step 4 of a dataset of chunks: ids of chunks that are gone
making.py        the names under which all that stands         receipts.py
"""
