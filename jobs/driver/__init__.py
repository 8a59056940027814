"""One run's driver. Events come in from the pool; tasks go out to it, and receipts into the commit log.

scheduler.py   Scheduler: events in, actions out; pure
workload.py    what is left to do                staff.py     who is there to do it   assignment.py   who does what next
loop.py        what carries the actions out, with a pool, a commit log and a clock
commit_buffer.py  receipts on their way into the commit log
progress.py    speed, shares, ETA                snapshot.py  at a moment
display.py     shown to a person                 heartbeat.py   left for `status`
outcome.py     what the end of a run comes to    summary.py   the run in numbers
"""
