"""How a bank is served and driven: verbs, the control socket, its client."""
