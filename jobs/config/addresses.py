"""The address of a cluster, as `ray.address` may give it."""

from __future__ import annotations

import re


def joinable(address: str | None) -> str | None:
    """null, auto or HOST:PORT: what Ray itself takes for a cluster that is there, less what we refuse."""
    if address is None or address == "auto":
        return address
    if "@" in address:
        raise ValueError("credentials do not belong in an address: put the cluster's token into RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH")
    if address.startswith("ray://"):
        raise ValueError(
            "ray:// (Ray Client) is refused, since a driver outside the cluster does not survive a lost connection: submit the job to the cluster "
            "(`embermill submit CONFIG --address http://HEAD:8265`), or run it on the head with `address: auto`"
        )
    if not re.fullmatch(r"(\[[0-9A-Fa-f:.%]+\]|[^\s:/\[\]]+):[0-9]{1,5}", address) or not 0 < int(address.rpartition(":")[2]) < 65536:
        raise ValueError(f"{address!r}: expected auto (the cluster that this machine is in) or HOST:PORT of its head; null starts a private Ray here")
    return address
