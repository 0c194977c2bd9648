"""The figures of the PixelVAE paper, made again: what is trained, what is measured, how it is drawn."""
