"""`embermill sync`: a corpus that changed becomes a version of its dataset. What a version is made of: embermill.jobs.difference.

job.py        the whole command: look, hold the lease, make a version or none
stages.py     the stages of one version, each made of tasks for workers     chunk_stages.py   of a dataset of chunks
scanned.py    what is read of the corpus
finding.py    texts that have a vector already                            counting.py       what a version did, in numbers
passing_over.py   where no row changed                                    imports.py        vectors that are given
forecast.py   what a sync would do, for `embermill plan`        summary.py   what it did, in numbers
"""
