"""The prediction log: what the server answered, without pictures, names or free text, and the diagnoses that came later.

entries.py    an entry: its columns, and the keyed hashes in it
journal.py    files of lines that grow while the server answers, and the Parquet files that they become
writer.py     the thread that writes while the server answers, and the count of what could not be written
reading.py    the log as a table; what is removed from it, by age or by case
diagnoses.py  diagnoses that came later
"""
