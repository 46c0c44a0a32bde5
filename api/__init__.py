"""Who may ask: the HTTP interface over `modemctl.service`."""
