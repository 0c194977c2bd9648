"""Nodes of ONNX graphs, for those that are exported and those that are grown at run time."""
