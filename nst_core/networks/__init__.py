"""Networks: architectures, weights and feature extractors."""
