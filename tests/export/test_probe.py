import numpy as np
import time, torch
from pvae_zoo.models.likelihood import pixel_log_prob
def test_probe(tiny, capsys):
    from pvae_zoo.runtime.model import PixelVAE
    m = PixelVAE(tiny.bundle, "cpu", 1)
    t=time.time()
    x = m.sample(64)
    t=time.time()-t
    s = m.nll(x)
    lp = s.log_prob
    with capsys.disabled():
        print("\n", x.shape, f"{t:.2f}s", "mean lp", lp.mean(), "min", lp.min(), "frac<0.3", (np.exp(lp)<.3).mean(), "frac>.9", (np.exp(lp)>.9).mean(), "kl", s.kl_nats.mean(), "uniq", len(np.unique(x)), "zstd", np.exp(m.encode(x)[0].log_std).mean())
