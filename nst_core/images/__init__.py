"""Images: decoding, encoding, color profiles and metadata."""
