"""The pretend network: carriers, service centre, exchange, and what they do with whom."""
