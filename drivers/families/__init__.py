"""Families of modems: a capabilities row, a match rule, and the steps a row cannot say.

Each module here that holds a `drivers.family.Family` is found by itself; see
`docs/adding-a-family.md`.
"""
