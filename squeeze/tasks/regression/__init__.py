"""One or more numbers a text."""
