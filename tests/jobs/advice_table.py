"""Every message of the job that advises something, by some of its words, and the test that follows the advice and sees it help.

tests/jobs/test_advice_table.py collects the messages from the source: one that is not here fails it, and so does an entry that no message holds any more.
"""

from __future__ import annotations

from typing import NamedTuple

ADVICE, DAMAGE, TYPES = "test_advice.py", "test_damage.py", "test_column_types.py"
COMPACT = "test_compact_columns.py"
FOLLOWED_HERE = "test_advice_followed.py"


class Beyond(NamedTuple):
    """Why no test can do it: it is for another machine, for a person's judgement, or it is no advice at all."""

    why: str


RUN_AGAIN = "The same command again is what test_an_interrupted_run_goes_on_from_what_is_committed, the crash points and the simulation do all day"
OTHER_VERSION = "Another version of embermill is not at hand; that its number is named is tested in test_refusals.py"
CLUSTER = "A cluster, or a machine that lacks something, is not at hand; the words are tested in test_refusals.py, test_ray.py and pool/test_placement.py"
NO_FAULT = "No fault: it explains, or describes an option"
Way = str | Beyond

TABLE: dict[str, Way] = {
    # what a person calls
    "write `from embermill.jobs.engine import": Beyond("A name to write in somebody's own code; the import is that of test_engine.py"),
    "exit codes:": Beyond(NO_FAULT),
    "into Parquet shards of vectors": Beyond(NO_FAULT),
    "--shape picks a random model": "commands/test_bench.py::test_an_option_of_bench_without_effect_is_refused",
    "--documents counts made-up texts": "commands/test_bench.py::test_an_option_of_bench_without_effect_is_refused",
    "give --tokens-per-s": "sync/test_commands.py::test_plan_tells_what_a_sync_would_do_and_writes_nothing",
    "which embeds them again by {}; then run the same job again":
        "test_planted_tokens.py::test_a_committed_shard_that_differs_is_named_and_the_advice_leads_to_an_equal_dataset",
    "Install it and run again": "test_planted_tokens.py::test_another_tokenizer_than_the_one_that_was_found_out_cannot_judge",
    "if you trust the token ids of all that is committed": "test_planted_tokens.py::test_a_damaged_note_says_what_to_do",
    "run the same job again to resume": "test_run.py::test_an_interrupted_run_goes_on_from_what_is_committed",
    "or run the same job again with a higher corpus.max_quarantined": f"{ADVICE}::test_status_names_what_finishes_a_dataset_with_too_many_refused_rows",
    "run the same job again to embed what they held": f"{DAMAGE}::test_a_plan_made_again_for_another_corpus_takes_no_shard_for_its_own",
    "missing or of the wrong size": "test_findings.py::test_status_looks_whether_the_shards_are_there",
    "see quarantine/ for the reasons": "test_outcomes.py",
    "is there already, and is not overwritten": "commands/test_configuring.py::test_a_file_that_is_there_is_kept",
    "config: say what": "commands/test_configuring.py::test_what_is_no_key_is_refused",
    "write an HTML page about a dataset": Beyond(NO_FAULT),
    "free disk space there, or name another file": Beyond("A disk that becomes full between the check of --out and the writing of the page"),
    "Written by `embermill init`": Beyond(NO_FAULT),
    "Keys that are left out have their defaults": "commands/test_configuring.py::test_every_key_is_explained_with_its_default",
    "replace it with --overwrite": "commands/test_weights.py::test_what_stands_there_is_overwritten_only_when_that_is_said",
    # the configuration
    "credentials do not belong in a URL": Beyond("Every test on a store has them there; the refusal is in config/test_job_config.py"),
    "ray:// (Ray Client) is refused": Beyond(CLUSTER),
    "prompt and prompt_name exclude each other": "test_document_prompt.py::test_the_configuration_has_the_last_word",
    "is a text column, and those are strings always": f"{TYPES}::test_what_cannot_be_declared",
    "give the text itself as model.prompt": "test_document_prompt.py::test_a_model_with_a_prompt_of_another_name_says_so",
    # corpus
    "set corpus.on_schema_drift to cast or null": f"{ADVICE}::another type",
    "fix the file, or": f"{ADVICE}::an unreadable file, removed",
    "declare corpus.types": f"{TYPES}::test_a_later_fraction_among_integers_is_refused_alone_and_the_message_says_what_helps",
    "flatten the column in the corpus": f"{FOLLOWED_HERE}::a struct among the texts",
    "fix the line, or {}": f"{TYPES}::test_a_later_fraction_among_integers_is_refused_alone_and_the_message_says_what_helps",
    "fix the line, or set {}": f"{TYPES}::test_mixed_from_the_beginning_is_refused_when_planning_and_the_advice_helps",
    "fix the line, or set corpus.types": f"{TYPES}::test_a_text_among_numbers_is_refused_and_what_the_message_advises_keeps_every_row",
    "timestamp[us]": f"{TYPES}::test_int96_outside_of_nanoseconds_is_refused_or_right_as_declared",
    "name the files by a glob": f"{ADVICE}::unknown ending, by a glob",
    "fix or remove them, or set corpus.on_bad_file": f"{ADVICE}::an unreadable file",
    "expected a string or an integer: name another column": f"{ADVICE}::ids that are fractions",
    "rename it in the corpus": f"{FOLLOWED_HERE}::an id column that is called like ours",
    "or name one folder that holds both": f"{ADVICE}::equal names",
    "keep it under another name": f"{ADVICE}::a kept column that collides",
    "or fix the file": f"{ADVICE}::another type",
    "name the corpus more narrowly, or put output.uri elsewhere": f"{ADVICE}::the corpus is a dataset",
    "put it elsewhere, or name the corpus more narrowly": f"{ADVICE}::the output lies within the corpus",
    "this name is no UTF-8": f"{FOLLOWED_HERE}::a file whose name is no text",
    "restore it as it was, or run `embermill redrive": f"{ADVICE}::test_a_file_that_changed_is_told_with_what_helps",
    "run again: where all that is committed of it still reads the same": "test_rereading.py::test_the_same_rows_resume",
    "restore it, or embed the corpus as it is now": f"{ADVICE}::test_a_file_that_changed_is_told_with_what_helps",
    "there is no user": Beyond("An absolute path is what every other test gives"),
    # a dataset
    "end it first": "test_two_drivers.py::test_one_works_and_the_others_stop",
    "Wait for it to end": "test_two_drivers.py::test_one_works_and_the_others_stop",
    "partitions are not finished": Beyond(RUN_AGAIN),
    "move what is not ours out of data/": f"{FOLLOWED_HERE}::test_a_file_of_somebody_else_in_data",
    "use the version that made it": Beyond(OTHER_VERSION),
    "use the version of embermill that made it": Beyond(OTHER_VERSION),
    "use that version, or another output.uri": Beyond(OTHER_VERSION),
    "was published by another run meanwhile": "dataset/metadata/test_manifest.py::test_two_runs_publish_at_once",
    "was decided meanwhile": "dataset/metadata/test_versions.py::test_one_number_is_decided_once",
    "cannot be decided before": "dataset/metadata/test_versions.py::test_one_number_is_decided_once",
    "is the newest one now: run again": "dataset/metadata/test_versions.py::test_the_parent_is_the_newest_version",
    "was committed meanwhile: run again": Beyond(RUN_AGAIN),
    "remove this line to keep them": Beyond(NO_FAULT),
    "holds a folder data/ that no dataset of ours made": f"{ADVICE}::other settings",
    "this dataset is finished, and what is published stays": f"{ADVICE}::test_a_file_that_changed_is_told_with_what_helps",
    "is not redriven: remove it": f"{FOLLOWED_HERE}::test_a_dataset_of_the_first_rows_is_made_anew",
    "run `embermill repair {}` first": "maintenance/test_redrive.py::test_its_plan_damaged_beyond_repair_the_advice_leads_to_a_whole_dataset",
    "there is no plan here to repair by": f"{DAMAGE}::test_a_damaged_plan",
    "put the corpus back as it was": "maintenance/test_repair.py::test_a_corpus_that_is_another_one_is_refused",
    "To finish, fix the corpus and run": f"{ADVICE}::too much quarantined, corrected",
    "set the limit back": "test_run.py::test_a_lower_limit_on_a_finished_dataset_is_not_kept_and_the_manifest_stays",
    "embed it anew": "test_token_ids_changed.py::test_a_run_is_refused_and_the_advice_helps",
    "count the rows differently": "shard/test_adoption.py::test_a_pair_of_two_runs_is_refused",
    "is set aside then and done anew": "shard/test_adoption.py::test_a_torn_file_does_not_wedge_the_job",
    "The corpus or its reader changed": f"{ADVICE}::other settings",
    "stands where a file of this plan belongs": f"{DAMAGE}::test_a_plan_made_again_with_other_settings_takes_no_shard_for_its_own",
    "continue there, or choose another output.uri": f"{ADVICE}::other settings",
    # what is damaged: jobs/remedies.py
    "the corpus is planned anew": f"{DAMAGE}::test_a_damaged_plan",
    "Move it away and run the same job again": f"{DAMAGE}::test_a_damaged_or_edited_commit_of_a_finished_dataset",
    "Move both away and run the same job again": f"{DAMAGE}::test_two_commits_that_contradict_each_other",
    "they are written anew from the manifest": f"{DAMAGE}::test_a_damaged_or_edited_commit_of_a_finished_dataset",
    "which makes the damaged files again from the corpus": f"{DAMAGE}::test_a_damaged_shard",
    "If this plan was made anew for the same corpus": f"{DAMAGE}::test_a_plan_made_again_for_another_corpus_takes_no_shard_for_its_own",
    "the manifest is published anew from the commits": f"{DAMAGE}::test_a_damaged_manifest",
    "what a version holds is recorded nowhere else": "versions/test_verify_versions.py::test_a_damaged_file_is_named_with_what_helps",
    "moves it to _embermill/set_aside": "test_flipped_bits.py::test_files_of_datasets_that_much_was_done_to",
    "Restore it from a backup. {}": Beyond("A backup is a person's; what else helps stands beside it"),
    "makes it again where the corpus files that a sync read": "sync/test_repair_versions.py::test_what_a_sync_wrote_is_made_again",
    "Versions that do not need it can still be read": f"{FOLLOWED_HERE}::test_with_a_lost_file_of_a_later_version_earlier_ones_are_read",
    "`embermill sync --rescan` reads every file anew": f"{FOLLOWED_HERE}::test_a_lost_listing_is_read_anew",
    "Move it away: it only says what was being made": f"{FOLLOWED_HERE}::test_a_damaged_claim_of_an_undecided_version",
    "Run `embermill sync` again": f"{FOLLOWED_HERE}::test_a_damaged_claim_of_an_undecided_version",
    "restore them from a copy": Beyond("Names that lead out of a dataset were planted there; a copy is what a backup holds"),
    "is a link that leads out of the dataset": "test_names_in_files.py::test_links_that_were_planted",
    "was to be copied is of another text": Beyond("Damage below the checksums; `verify` names what differs (versions/test_verify_versions.py)"),
    # syncs and versions
    "or run again with --allow-deletes": "sync/test_outcomes.py::test_too_many_are_refused_before_any_engine_works",
    "set corpus.on_duplicate_id: quarantine": "sync/test_outcomes.py::test_or_all_is_refused",
    "Nothing was embedded: fix the corpus, or run again with": "sync/test_outcomes.py::test_too_many_are_refused_before_any_engine_works",
    "which takes the vectors from here": "sync/test_another_dataset.py::test_are_refused_with_what_it_would_cost_and_the_advice_helps",
    "name a dataset that was made alike": "sync/test_sync.py::test_of_a_dataset_of_another_model_none",
    "is deleted for an empty listing": "sync/test_outcomes.py::test_an_empty_listing_is_always_refused",
    "name a column of ids in corpus.id_column": "sync/test_outcomes.py::test_positional_ids_are_refused_before_anything_is_embedded",
    "the corpus changed twice while a version was made": Beyond(RUN_AGAIN),
    "it keeps a column of the corpus under the name `version`": f"{ADVICE}::a kept column that collides",
    "Drop the copy and load version": "versions/test_erase.py::test_no_byte_and_no_column_holds_what_was_erased",
    "stand there than this version has": Beyond("Files of somebody else under our names"),
    # a command that is named
    "`embermill run` resumes from there": "test_run.py::test_an_interrupted_run_goes_on_from_what_is_committed",
    "were not looked for in so many rows": "test_findings.py::test_so_many_rows_are_left_to_verify",
    "that several rows have (`embermill verify`": "test_findings.py::test_duplicates_empty_texts_and_cut_rows",
    "`embermill sync CONFIG` embeds what changed": "sync/test_commands.py::test_sync_says_what_it_did_and_run_and_status_what_is_to_be_done",
    "would make reading it cheaper": "versions/test_commands.py::test_rollback_compact_and_gc",
    "without it `embermill plan` reads the files that changed": "sync/test_commands.py::test_plan_tells_what_a_sync_would_do_and_writes_nothing",
    "prints a query, `embermill.open_dataset(DATASET)` reads them": "versions/test_engines.py::test_all_engines_read_every_version_alike",
    "(or `polars`) prints both": "versions/test_engines.py::test_all_engines_read_every_version_alike",
    "`embermill repair` makes it anew": "versions/test_verify_versions.py::test_lost_keys_are_repaired_as_a_version_and_stay_right",
    "`embermill repair` makes them anew": "versions/test_verify_versions.py::test_lost_keys_are_repaired_as_a_version_and_stay_right",
    "`embermill verify` says": f"{ADVICE}::test_a_lost_shard_is_told_with_what_helps",
    "`embermill history` lists": "versions/test_commands.py::test_history",
    "finish it with `embermill run` first": Beyond(RUN_AGAIN),
    "expected the output.uri of an `embermill run`": Beyond("The output of a run is what every other test gives"),
    "`embermill repair` restores it": f"{DAMAGE}::test_a_damaged_plan",
    "`embermill repair` writes it anew": f"{DAMAGE}::test_a_damaged_format",
    # compact columns
    "two columns would be called {}: give them different names": f"{COMPACT}::test_what_is_advised_of_a_column_helps",
    "has a range for each dimension instead: leave one of them out": f"{COMPACT}::test_what_is_advised_of_a_column_helps",
    "choose another name for the vectors": f"{COMPACT}::test_what_is_advised_of_a_column_helps",
    "and its files do not say that it was trained for fewer": f"{COMPACT}::test_what_is_advised_of_a_column_helps",
    "ubinary packs eight dimensions a byte, and this model makes": f"{COMPACT}::test_what_is_advised_of_a_column_helps",
    "config.json lists matryoshka_dimensions": f"{COMPACT}::test_what_is_advised_of_a_column_helps",
    "were too large for their codes and clipped": f"{COMPACT}::test_a_scale_that_does_not_fit_is_told_of",
    "--recall is measured on a finished dataset": f"{COMPACT}::test_recall_is_measured_on_a_finished_dataset",
    "the scale of int8 columns could not be measured: {}": "test_measuring.py",
    "or with the same output.vectors": "sync/test_compact_columns.py::test_reuse_refuses_another_form_and_names_it",
    "leave it out of --reuse": Beyond("Another dataset takes the place of the one that a version was planned with, before it is copied from"),
    # a machine, a store, a cluster
    "name a file in a folder that is there": f"{FOLLOWED_HERE}::test_events_go_to_a_folder_that_is_there",
    "free disk space there or name another file": "test_storage_trouble.py::test_a_disk_that_is_full_or_read_only_in_mid_run",
    "look at what sets CUDA_VISIBLE_DEVICES": Beyond(CLUSTER),
    "run the same command again to resume from there": Beyond(RUN_AGAIN),
    "no worker is left": Beyond(RUN_AGAIN),
    "If it means embermill's own": Beyond("A name to write in somebody's own code; the words are tested in test_engine.py"),
    "add GPU nodes": Beyond(CLUSTER),
    "set TMPDIR to a folder": Beyond("Neither /tmp nor /var/tmp can be written: no test changes that"),
    "raise workers.start_timeout_s": "test_ray.py::test_a_worker_that_is_not_ready_in_time_is_given_up",
    "its raylet has died": "test_kill.py::test_killed_and_run_again_equals_undisturbed",
    "see `ray status` and the nodes' labels": Beyond(CLUSTER),
    "start a Ray there": Beyond(CLUSTER),
    "start one (ray start --head)": Beyond(CLUSTER),
    "output.on_unconditional_puts: accept": "storage/test_object_stores.py::test_where_that_is_accepted_names_are_looked_up_first",
    "install the extra for your GPU": Beyond(CLUSTER),
    "leave it open, or redirect it": "process/test_standard_output.py::test_a_closed_stdout_is_said_before_any_work_is_done",
    "or send the answer elsewhere": "process/test_standard_output.py::test_no_room_for_the_answer_is_exit_2_and_one_sentence",
    "free disk space for the dataset": "test_storage_trouble.py::test_a_disk_that_is_full_or_read_only_in_mid_run",
    "let this user write and read there": "test_storage_trouble.py::test_a_disk_that_is_full_or_read_only_in_mid_run",
    "and a file is there: choose another place": f"{ADVICE}::other settings",
    "put output.uri on another one": Beyond("A file system without hard links is not at hand"),
    "expected a folder that files can be made in": "test_storage_trouble.py::test_a_disk_that_is_full_or_read_only_in_mid_run",
    "expected parts that are neither empty": "storage/test_object_stores.py::test_a_key_with_dots_is_refused_by_every_command",
    "the store answers `already exists` while nothing is there": Beyond(RUN_AGAIN),
}
