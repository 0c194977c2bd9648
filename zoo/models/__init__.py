"""PixelVAEs in PyTorch. Shapes: B images, C channels, H rows, W columns; nats unless a name says otherwise."""
