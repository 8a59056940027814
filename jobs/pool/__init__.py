"""Workers, started, given tasks and listened to. In go tasks, out come events, and no worker dies unheard.

base.py            Pool, the seam; PoolWorker, which is what a pool drives
inline.py          workers in this process, for tests and debuggers
ray_pool.py        workers as Ray actors                   ray_session.py   one connection to Ray; these two alone import it
remote_worker.py   a worker's side of an actor             ray_words.py     what of Ray's own words is shown
opening.py         a pool on Ray, for a configuration and a plan; the wait for its first worker
placement.py       how many workers, on what
"""
