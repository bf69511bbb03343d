"""From presets to a real-time network: training, checkpoints, ONNX file, measured quality."""
