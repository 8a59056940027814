"""`embermill submit` and what follows it: a job on somebody's cluster, over Ray's Jobs API.

    names.py        names of jobs, and the attempts of one name
    refusals.py     what a configuration must not hold that runs on another machine
    package.py      what is sent: configuration, start script, the code of an engine; and the command that starts it
    start.py        runs on the head, alone: looks at the cluster's nodes, then becomes `embermill run`
    cluster.py      the cluster's answers; with start.py the only ones here that import ray
    fitness.py      what a cluster must have: versions, GPUs and CPUs
    following.py    log and progress of a job, until it ends or nobody wants to watch
    endings.py      how a job ended, as an answer or as an error with its exit code
    submitting.py   submit, list, follow, stop
"""
