"""In the place of Ray's two agents, in a private Ray that needs neither: a raylet wants something that lives as long as it does. Run as a script."""

import sys

if __name__ == "__main__":
    sys.stdin.buffer.read()  # its other end is the raylet's
