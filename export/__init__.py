"""A checkpoint becomes ONNX graphs, the proof that they agree with PyTorch, and graphs a checkpoint again."""
