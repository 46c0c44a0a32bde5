"""What a bank consists of, and what happens to it when."""
