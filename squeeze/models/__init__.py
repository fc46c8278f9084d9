"""What is compressed and what it becomes."""
