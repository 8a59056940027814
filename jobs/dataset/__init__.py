"""A dataset as a whole.

metadata/   what it is: commits, manifests, receipts, lease, and which of them is believed
views/      looking at it: status, verify, search, compare
"""
