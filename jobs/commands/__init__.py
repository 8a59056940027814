"""The commands: each makes one JSON object (job.py, model.py, bench.py, weights.py) that can be put into words (report.py)."""
