"""int8 forms written by the quantizers of other libraries, in the shape that ours have."""
