"""How long a model may take on a device that is not there: an interval, never a measurement."""
