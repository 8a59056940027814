"""Workers, started, given tasks and listened to. In go tasks, out come events, and no worker dies unheard.

base.py            Pool, the seam; PoolWorker, which is what a pool drives
inline.py          workers in this process, for tests and debuggers
ray_pool.py        workers as Ray actors                   ray_session.py   one connection to Ray; they, actor, demand and lean_ray alone import it
actor.py           the actor that a worker runs in         lean_ray.py      a private Ray with no more in it than a job needs
ray_ahead.py       a private Ray begun before anything else is imported         beside.py   something opened, held and closed by a thread of its own
remote_worker.py   a worker's side of an actor             ray_words.py     what of Ray's own words is shown
opening.py         a pool on Ray, for a configuration and a plan, also one that is begun early; the wait for its first worker
placement.py       how many workers, on what
"""
