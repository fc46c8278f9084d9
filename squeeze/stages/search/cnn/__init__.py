"""A search over CIFAR ResNets, `squeeze search-cnn`; see ../README.md."""
