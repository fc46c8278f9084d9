"""Devices other than this machine: how to reach them, what runs there, what comes of it."""
