"""Distillation: from presets to a real-time network in an ONNX file, with its quality."""
