"""The student in the formats of other runtimes: each converted from torch, through one wrapper.

files = by_openvino.convert(Fixed(student, 64), folder)
logits = by_openvino.open_model(files)(ids, mask)
"""
