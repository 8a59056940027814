"""The indexes that `embermill load` knows, one class each, over their own client libraries. embermill.jobs.index.opening names them."""
