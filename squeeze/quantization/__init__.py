"""An encoder that computes in torch what its quantized graph will compute, to be calibrated and trained."""
