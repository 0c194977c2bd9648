"""ONNX graphs built, rewritten in other numbers, and grown at run time, with onnx alone. Nothing here runs one."""
