"""Use cases, one module a noun: the only door for `api`."""
