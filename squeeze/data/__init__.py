"""Where text comes from and how it is fed."""
