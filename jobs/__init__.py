"""The job: a corpus in, a dataset of Parquet shards out, on any number of workers and with any engine. Imports point down only.

cli           arguments, exit codes            commands/    what each command does, and its answer in words
run           configuration -> plan -> pool -> driver -> manifest
sync/         a corpus that changed -> a version of its dataset
maintenance/  redrive, repair, gc              versions/    compact, rollback, erase: versions made without embedding
prepare       the one door of plan, run and sync          preflight    what is refused there, before a worker starts
driver/       decides, commits, shows          pool/        workers, inline or on Ray
worker/       read -> embed -> write, in one process
difference/   what a version is made of: scan, difference, where each vector comes from
dataset/      commits, manifest, a look back   shard/       a shard and its quarantine, written, published and checked
plan/         what there is to do, fixed once  corpus/      files -> Arrow batches
storage/      where things lie                 engine/      how a model is seen
bookkeeping/  seals, keys that older files lack, the form of a JSON document
config/       the YAML                         process/     cores, allocators, tuning by device, standard output

What all of them speak of: errors (exit codes), remedies, partition, receipt, token_lengths, wording.
"""

if __name__ != "embermill.jobs":
    raise ImportError("this package is called embermill.jobs: write `from embermill.jobs.engine import Embedded, Output`", name=__name__)
