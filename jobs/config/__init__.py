"""The configuration of a job.

job_config.py   JobConfig: every key with its type and default, and what goes with what; section.py, workers_config.py
loading.py      a JobConfig from a file or from a plan's keys   overrides.py   what --set puts over it
explanations.py what each key means, from configs/reference.yaml
yaml.py         the file, read strictly and within limits        errors.py   what pydantic finds wrong, in our words
vectors.py      an entry of output.vectors                      signatures.py     addresses with a credential in them
paths.py        relative paths made absolute                     quarantine_limit.py   what corpus.max_quarantined allows
"""

from embermill.jobs.config.job_config import (
    IF_ABSENT,
    KEYS,
    SECTIONS,
    CorpusConfig,
    JobConfig,
    ModelConfig,
    OutputConfig,
    flatten,
)
from embermill.jobs.config.loading import config_from_keys, load_config, made_absolute, read_config
from embermill.jobs.config.signatures import kept_in_dataset, require_unsigned, require_whole
from embermill.jobs.config.vectors import VectorConfig
from embermill.jobs.config.workers_config import WorkersConfig

__all__ = [
    "IF_ABSENT",
    "KEYS",
    "SECTIONS",
    "CorpusConfig",
    "JobConfig",
    "ModelConfig",
    "OutputConfig",
    "VectorConfig",
    "WorkersConfig",
    "config_from_keys",
    "flatten",
    "kept_in_dataset",
    "load_config",
    "made_absolute",
    "read_config",
    "require_unsigned",
    "require_whole",
]
