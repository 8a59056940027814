"""What a run does beside embedding, in the order in which it may: each is called by run.py, prepare.py or repair.py, and by nothing below.

closeness.py      before anything is written: how near a precision of few bits comes to float32 on this corpus
scales.py         before the plan is written: what int8 columns are scaled by
without_worker.py before the plan is written: what a worker would say of itself, where there is nothing to embed
rereading.py      before a run resumes: files that are no longer what was planned
token_review.py   before a manifest is published: shards whose tokenizer was found to give other ids
"""
