"""What happens inside a worker's process. In go tasks; out come published shards, and events that say so. Nothing here knows Ray.

worker.py        Worker: one engine on its one device
pipeline.py      the tasks of a queue, one stream after another; who is at fault where an engine ends one
stream.py        read -> embed -> write, three threads over a stream of partitions
writing.py       the half of it that writes: rows into shards, and shards checked, published and reported
stream_items.py  what travels between them
chunk_rows.py    documents of a partition -> rows that are chunks
cut_processes.py the same by several processes beside the worker
cutting.py       rows of a partition -> rows of its shards, in batches
task_queue.py    what there is still to do
failures.py      what went wrong with a partition, as data
isolation.py     which rows of a batch an engine fails on
refused_rows.py  rows that are refused after the engine has seen them     refused_texts.py  rows that wanted the vector of one
token_check.py   rows of each shard whose token ids are compared, and what follows where they differ     token_sample.py  which rows
long_texts.py    rows whose text was cut off, where that is an error
stage_clock.py   how long each stage is busy          pulse.py         signs of an engine that computes and has not answered yet
"""
