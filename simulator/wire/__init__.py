"""How octets travel between a client and a modem: ports, lines, and what spoils them."""
