"""Families of modems: a capabilities row, a match rule, and the steps a row cannot say.

To add one: write a file with a `drivers.family.Family`: how its modems name themselves
(`matches`), which commands tell ICCID and PIN tries, which `+CNMI` values it keeps, and a table
of its own unsolicited lines; put it into `drivers.registry.FAMILIES` before `GENERIC`; add each
line, as the manual prints it, to `tests/unit/test_families.py`, and a persona to the simulator.
"""
