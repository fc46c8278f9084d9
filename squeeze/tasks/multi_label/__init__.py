"""Any number of labels a text."""
