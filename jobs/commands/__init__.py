"""The commands: each makes one JSON object, which can be put into words.

The files of cli.ROOMS hold the commands. answers.py and the files beginning with it put what they make into words. What one command alone needs:
stored_pace.py for `bench --text`, first_configuration.py for `init`, remaining_work.py for `plan` on a dataset that is not finished.
"""
