"""A checkpoint becomes ONNX graphs, and graphs a checkpoint; the proof that they compute what PyTorch computes."""
