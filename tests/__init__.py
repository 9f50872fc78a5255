"""The tests. A dependency installs a package of this name too; this file lets `tests` be this folder in every process."""
