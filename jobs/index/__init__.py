"""What search indexes want: their recorded limits, and whether a dataset keeps to them."""
