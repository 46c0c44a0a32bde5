"""A pretend bank of modems, cards and network; shares no code with the product."""
