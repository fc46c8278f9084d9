"""The library behind `squeeze sweep`: a grid of settings, cold starts, text to label, energy.

grid.py measures the grid and choice.py picks from it; cold.py, texts.py and energy.py each ask the measuring
process for one thing; records.py is what all of them give and formats.py draws it.
"""
