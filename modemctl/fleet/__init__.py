"""What runs while hardware is plugged in."""
