"""What an export writes, one file a format; format.py says what each is."""
