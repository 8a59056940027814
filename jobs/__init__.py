"""The job: a corpus in, a dataset of Parquet shards out, on any number of workers and with any engine. Imports point down only.

cli           arguments, exit codes            commands/    what each command does, and its answer in words
run           configuration -> plan -> pool -> driver -> manifest
preflight     what a run refuses before it starts a worker, and `plan` in the same words
driver/       decides, commits, shows          pool/        workers, inline or on Ray
dataset/      commits, manifest, a look back   worker/      read -> embed -> write, in one process
shard/        a shard and its quarantine, written, published and checked
plan/         what there is to do, fixed once  corpus/      files -> Arrow batches
storage/      where things lie                 engine/      how a model is seen

What all of them speak of: config, errors (exit codes), remedies, partition, receipt, token_lengths, wording. What their processes allocate with: allocators.
"""

if __name__ != "embermill.jobs":
    raise ImportError("this package is called embermill.jobs: write `from embermill.jobs.engine import Embedded, Output`", name=__name__)
