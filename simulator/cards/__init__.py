"""A SIM card: its states and files, what it stores, and how that is kept."""
