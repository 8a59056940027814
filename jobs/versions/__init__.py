"""What makes a version without embedding anything: from the rows that a dataset has.

row_files.py   files of rows and of deletes, written and published
compact.py     a new base beside the old one          rollback.py   what a later version changed, undone
erase.py, traces.py   rows that nothing may tell any more    rekey.py      keys made from the rows
making.py      what the commands share               retention.py  versions that can no longer be read, and their files
"""
