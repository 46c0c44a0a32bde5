"""Families of modems: a capabilities row, a match rule, and the steps a row cannot say."""
