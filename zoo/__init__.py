"""A zoo of PixelVAEs: samples, latent codes and a likelihood for every image, over onnxruntime."""
