"""What is done to an existing dataset, beside adding to it.

redrive.py   refused rows and changed files are read again      repair.py   damaged and missing files are made again
garbage.py   what killed runs left is removed
"""
