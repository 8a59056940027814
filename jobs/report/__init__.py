"""`embermill report`: what a dataset holds and how it was made, as one HTML file that asks for nothing else.

account.py    every figure, read from the dataset: one JSON object, which `--json` prints and the page shows
rows.py       live rows: their lengths, and a seeded sample      refused.py   the quarantine: reasons with examples
speed.py      runs: speed over time, stages, workers, what it cost  sample_map.py   vectors in two dimensions, with their neighbours
charts.py     the figures as Vega-Lite specifications            page.py      the page; vega.py   the library that draws, inlined
"""
