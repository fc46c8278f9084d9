"""The training loop that fine-tuning and distillation share."""
