"""`python -m simulator.recording`: the recorder's commands on their own."""

import click

from simulator.recording import record, recording, replay

main = click.Group(
    "simulator.recording",
    commands=[record, replay, *recording.commands.values()],
    help="Record a modem's session without its secrets; serve it as a modem.",
)

if __name__ == "__main__":
    main()
