"""What all bookkeeping files of a dataset have in common.

seal.py            a checksum inside the file that it is of
stored_keys.py     keys that older datasets lack, and what their absence means
expected_form.py   whether a JSON document has the form that its reader goes by; table_form.py, a table
hashed_table.py    tables that are named by the hash of their content
"""
