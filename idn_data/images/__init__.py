"""Decoding, the variants of an image, where the sets lie, fetching them."""
