"""What a process of the job takes from its machine.

cores.py        the cores it may use                 allocators.py        which allocator, and why
device_tuning.py   what differs by kind of device    standard_output.py   who may write to standard output
"""
