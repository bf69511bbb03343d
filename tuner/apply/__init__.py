"""Apply: a preset to a picture, a folder or a video."""
