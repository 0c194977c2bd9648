"""What the paper reports, to stand beside what is measured here.

Source: PixelVAE (Gulrajani et al., 2017), arXiv 1611.05013. Figure 4 prints no values; those below are the data of the
authors' plotting script (plot_kl_break.py in their research repository), almost surely the figure's.
"""

TABLE_1 = {
    "Convolutional VAE": "<= 87.41",
    "PixelCNN (Gated, their own)": "80.10",
    "PixelVAE with upsampling (Gated)": "<= 80.08",
    "PixelVAE without upsampling (Gated)": "<= 79.66, ~ 79.02 (K = 1000)",
}
"""Nats an image, static binarised MNIST, test set; "<=" is an ELBO, "~" an importance-weighted estimate."""

TRAINED_ON = 20_000_000
"""Images that each of the paper's MNIST models saw: 200,000 steps of 100, by the authors' code."""

FIGURE_4 = {
    0: (61.35, 26.33),
    1: (69.95, 11.59),
    2: (71.82, 9.40),
    4: (72.16, 8.65),
    8: (73.47, 7.29),
    12: (74.09, 6.56),
}
"""Masked layers to (reconstruction, KL) in nats an image."""

IMAGENET64 = {
    "van den Oord et al., 2016 (arXiv 1601.06759)": (
        "49,999 validation images, PNG files",
        "PixelVAE 3.66 (the paper); VDVAE 3.52 (Child, 2021)",
    ),
    "Chrabaszcz et al., 2017 (arXiv 1707.08819)": (
        "50,000 validation images, npz files",
        "Efficient-VDVAE 3.30 (Hazami et al., 2022)",
    ),
}
"""The two sets that are called ImageNet 64x64: what they are, and bits per dimension published on them.

The newer is the easier: VDVAE and Efficient-VDVAE are the same kind of model. So 3.66 compares with figures on the
older alone.
"""
