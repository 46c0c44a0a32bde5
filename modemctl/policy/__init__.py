"""Pure decisions and the table of the company's rules."""
