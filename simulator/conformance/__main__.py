"""`python -m simulator.conformance PORT`."""

from simulator.conformance import command

if __name__ == "__main__":
    command(prog_name="python -m simulator.conformance")
