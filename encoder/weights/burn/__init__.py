"""Files of the Rust framework Burn: records (.mpk, .mpk.gz) and burnpack (.bpk)."""
