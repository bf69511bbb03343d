"""Applying a preset to a picture, a folder or a video; scoring pictures, checking metrics."""
