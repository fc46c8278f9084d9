"""Where models run and are measured."""
