"""Consumers that do nothing but count: each what its library costs at the least."""
