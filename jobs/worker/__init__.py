"""What happens inside a worker's process. In go tasks; out come published shards, and events that say so. Nothing here knows Ray.

worker.py        Worker: one engine on its one device
pipeline.py      read -> embed -> write, three threads over a stream of partitions
cutting.py       rows of a partition -> rows of its shards, in batches
channel.py       a bounded hand-over between two threads
failures.py      what went wrong with a partition, as data
long_texts.py    rows whose text was cut off, where that is an error
stage_clock.py   how long each stage is busy
"""
