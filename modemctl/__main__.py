"""`python -m modemctl`."""

from modemctl.cli import main

main()
