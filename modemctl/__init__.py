"""The controller: what to send and whether."""
