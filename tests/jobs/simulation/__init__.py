"""The driver's real modules (scheduler, commit log, commit buffer, lease) under a seeded simulator: their surroundings alone are simulated.

store.py       an object store in memory: 503, answers that are lost, writes that arrive late, listings that lag behind
workers.py     workers of a pool: healthy, broken, silent, slow, dying; receipts that are lost, repeated or late; zombies
moving.py      nodes that come and go with their workers, in seeds from MOVING_FROM on
rows.py        tables of receipts, in place of Arrow's
runs.py        one run in steps, and what must be true of it at each
surroundings.py   what the modules ask the machine for
simulator.py   from a seed to a finished dataset: runs, one or two at a time, that are killed, paused and started again, on clocks that jump
shrinking.py   a failure with as few faults as it takes
"""
