"""Graphs made of graphs, with onnx alone: in other numbers, with images of another type. Nothing here runs one."""
