"""What a monitoring system is told of a job: one list of measures, a ledger that knows their values, and the ways they go out.

    measures.py      the names, with kind, help and labels: dashboards and rules are checked against this list
    ledger.py        the values, from what the driver is told
    text_file.py     Prometheus' text format, into a file that node_exporter reads (`--metrics FILE`)
    ray_metrics.py   Ray's own exporter, on a cluster; imports ray
"""
