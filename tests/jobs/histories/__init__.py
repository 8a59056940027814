"""Random histories of a dataset: versions, abandoned ones, kills, compactions, rollbacks and collections, through the modules that production runs, held
against a dictionary. `python -m tests.jobs.histories --count 100000 --processes 64` runs many."""
