"""How to speak to one modem; a leaf library that knows nothing of the controller."""
