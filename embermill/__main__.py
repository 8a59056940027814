"""`python -m embermill`: the same as the command `embermill`."""

from embermill.jobs.cli import entry

if __name__ == "__main__":
    entry()
