"""Graphs made of graphs, with onnx alone: in other numbers, several as one. Nothing here runs one."""
