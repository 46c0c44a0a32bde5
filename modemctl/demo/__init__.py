"""The demo: the whole mission against a simulated bank, judged by its ledger."""
