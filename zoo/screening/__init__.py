"""Which images do not belong: scores of an image, what known images are like, and p-values that keep what they promise.

`evidence` measures an image by itself, `reference` compares it with calibration images, `conformal` turns that into a
p-value, `calibration` is the file of it all, `screen` puts them together, `verdicts` waits for the whole batch, and
`maps` shows where a model was surprised.
"""
