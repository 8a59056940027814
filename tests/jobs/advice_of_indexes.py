"""The part of advice_table.py for `load`, `check`, `export` and the commands about a cluster."""

from __future__ import annotations

from tests.advice import Beyond, Way

CLUSTER = "A cluster with that fault is not at hand; the words are tested in submit/test_refusals.py and submit/test_on_a_cluster.py"
RECORDED = "A service with that limit is not at hand; that the limit is told is tested in index/test_check.py"
SQL = "A statement of SQL, which advises nothing"
HERE, LIMITED, DUCKDB = "index/test_advice.py", "index/test_refusals.py", "index/test_duckdb.py"
A_JOB = "submit/test_on_a_cluster.py::test_submit_follow_detach_come_back_stop_and_submit_again"

TABLE: dict[str, Way] = {
    # load
    "something else writes to it, or it held rows before": f"{HERE}::test_rows_of_somebody_else",
    "What is committed stays: run the same command again, it resumes": "index/test_loading.py::test_killed_at_every_operation_and_run_again",
    "close it, then run the load again": "index/targets/test_kills.py::test_killed_again_and_again",
    "or a file that is not there yet, and this one is something else: name another file": "index/test_duckdb.py::test_a_file_that_is_no_database",
    "use the version of embermill that loaded it": Beyond("Another version of embermill is not at hand; the refusal is tested in index/test_refusals.py"),
    "its cursor is damaged": f"{HERE}::test_a_damaged_cursor",
    "another `embermill load` is at work": f"{LIMITED}::test_the_second_of_two_loaders_exits_4_before_it_writes",
    "another `embermill load` took it over": Beyond("No advice: the other load goes on, and this one has stopped"),
    "another `embermill load` has just created it": Beyond("No advice: it explains why this load exits with 4"),
    "declare the long ones as non-filterable keys": Beyond(RECORDED),
    "the table takes them, an index does not": Beyond(RECORDED),
    "name a new one, which is created as it must be": f"{HERE}::test_another_collection",
    "give ?metric={} in its address": f"{HERE}::test_another_metric",
    "compare the two, and move the alias (--alias)": f"{HERE}::test_another_collection",
    "takes {} vectors, the column {} holds": f"{HERE}::test_another_column_of_vectors",
    "make them unique in the corpus and run `embermill sync`": f"{HERE}::test_ids_that_several_rows_have",
    "holds {} and no cursor, so `embermill load` did not write them": f"{LIMITED}::test_rows_and_no_cursor",
    "was loaded from {}: name a new one, or take it over with --adopt": f"{HERE}::test_of_another_dataset",
    "has no aliases: let your application name": "index/targets/test_aliases.py::test_targets_without_aliases_refuse_it",
    "Load into a new table or collection and then delete this one": f"{HERE}::test_rows_that_were_erased",
    "makes a new version with those rows": f"{HERE}::test_back_to_an_earlier_version",
    "name the table behind it, or a new one": f"{DUCKDB}::test_a_table_of_somebody_else",
    "names a schema alone: name the table": "index/targets/test_fit.py::test_names_that_cannot_be_meant_in_postgresql",
    "the table that is there has no {} {}": f"{DUCKDB}::test_a_table_of_somebody_else_that_fits",
    "how far each table is: name another table": f"{DUCKDB}::test_names_that_cannot_be_meant",
    "takes the columns {} and {} for one": f"{DUCKDB}::test_names_that_cannot_be_meant",
    "{}= names none: give it a name": f"{DUCKDB}::test_names_that_cannot_be_meant",
    "--alias: it is empty": f"{DUCKDB}::test_names_that_cannot_be_meant",
    "drop the table, delete these rows of {}, and load again": f"{DUCKDB}::test_a_table_that_was_loaded_under_two_names",
    "or leave index=hnsw out: a scan needs no extension": f"{DUCKDB}::test_an_index_without_its_extension",
    "SET hnsw": Beyond(SQL),
    "DROP VIEW IF EXISTS": Beyond(SQL),
    "COPY {} ({}) FROM STDIN": Beyond(SQL),
    "is a table or collection itself in {}: choose another name": "index/targets/test_aliases.py::test_an_alias_moves_to_the_new_table",
    "a column of bits has no such index: leave the option out": "index/targets/test_compact.py::test_an_index_that_bits_cannot_have_is_left_out",
    "several rows have one id: {}: make ids unique": f"{HERE}::test_ids_that_several_rows_have",
    # export
    "this format holds {}, the column": f"{HERE}::test_another_column_of_vectors",
    "leave out --map": "export/test_tables.py::test_hugging_face",
    "{}: name another folder, or remove that one": "export/test_advice.py::test_a_folder_with_another_export",
    "is damaged ({}): remove {} and export again": "export/test_advice.py::test_a_damaged_state",
    "another export is writing there": "export/test_advice.py::test_while_another_one_writes",
    # a cluster
    "--address is missing": "submit/test_refusals.py::test_an_address_may_come_from_the_environment_and_lack_its_scheme",
    "set RAY_AUTH_TOKEN to the cluster's token": "submit/test_on_a_cluster.py::test_what_the_cluster_lacks_is_refused_before_anything_is_sent",
    "was submitted by somebody else at this moment": Beyond(CLUSTER),
    "submit it again to resume from what is committed": A_JOB,
    "a name that embermill's own files have: rename it": "submit/test_refusals.py::test_what_is_sent_runs_there_as_it_was_meant_here",
    "is relative to a folder of this machine": "submit/test_refusals.py::test_urls_hub_ids_and_absolute_paths_are_taken",
    "which the cluster does not see: add --working-dir": "submit/test_refusals.py::test_the_code_of_an_engine_is_sent_or_installed_there",
    "no Python with Ray was found on the head": Beyond(CLUSTER),
    "install embermill[cluster]": Beyond(CLUSTER),
    "install one version everywhere": Beyond(CLUSTER),
    "follows it from anywhere": A_JOB,
    "is running ({}): `embermill logs": A_JOB,
    "look at it in Ray's dashboard": Beyond(CLUSTER),
    "interrupted while following": A_JOB,
}
