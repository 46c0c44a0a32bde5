"""Record and replay: a modem's session as a file without its secrets, and that file as a modem."""

from simulator.recording.cli import record, recording, replay

__all__ = ["record", "recording", "replay"]
