"""The page's sections about photos of 64x64: figure 5, what latents earn, lossless codecs, the sets of that name."""

from __future__ import annotations

from pvae_zoo.data.codecs import WEBP
from pvae_zoo.paper.reference import IMAGENET64
from pvae_zoo.paper.results import LatentsResult, Results
from pvae_zoo.paper.tables import NOT_YET, listed, table


def figure5_section(results: Results) -> str:
    if results.rows is None:
        return NOT_YET.format(figure="figure5", needs="") + " It needs a trained model with two levels."
    rows = [[level, f"{100 * distance:.2f} %"] for level, distance in results.rows.distance.items()]
    distances = table(["noise that changes", "mean distance of two images, share of the range"], rows)
    return f"{distances}\n\nModel: `{results.rows.model}` ({results.rows.digest[:16]})."


def codecs_section(results: Results) -> str:
    if not results.codecs:
        return NOT_YET.format(figure="codecs", needs=" --rooms ZIP --photos ZIP")
    names = list(dict.fromkeys(name for row in results.codecs for name in row.codecs))
    rows = []
    for row in results.codecs:
        sizes = [f"{row.codecs[name]:.3f}" if name in row.codecs else "" for name in names]
        model, share = "no trained model yet", ""
        if row.model_bits_per_dim is not None:
            model = f"{row.model_bits_per_dim:.3f} (`{row.model}`)"
            share = f"{row.model_bits_per_dim / row.codecs[WEBP]:.3f}" if WEBP in row.codecs else ""
        rows.append([f"`{row.dataset}`", str(row.images), *sizes, model, share])
    return table(["images", "number", *names, "PixelVAE, -ELBO", f"of {WEBP}"], rows)


def latents_section(results: Results) -> str:
    if not results.latents:
        return NOT_YET.format(figure="latents", needs=" --photos ZIP")
    rows, claims = [], []
    for dataset, images in dict.fromkeys((row.dataset, row.images) for row in results.latents):
        alone, found = (results.find_latents(dataset, images, latents) for latents in (False, True))
        seen = next(row.images_seen for row in (alone, found) if row is not None)
        kl, others = "", ""
        if found is not None and found.others_bits_per_dim is not None:
            kl = " + ".join(f"{nats:.1f}" for nats in found.kl_nats)
            others = f"{found.others_bits_per_dim:.3f}"
        rows.append([f"`{dataset}`", f"{seen:,}", *(_bits(row) for row in (alone, found)), kl, others])
        if alone is not None and found is not None:
            gain = alone.bits_per_dim - found.bits_per_dim
            claims.append(f"{'save' if gain > 0 else 'cost'} {abs(gain):.3f} after {seen:,} images")
    head = ["photos", "trained on", "without latents, exact", "with latents, -ELBO", "KL of z1 + z2", "another's z1"]
    said = f"Here the latents {listed(claims)}, in bits per dimension.\n\n" if claims else ""
    return f"{table(head, rows)}\n\n{said}{_latents_made(results)}"


def _bits(row: LatentsResult | None) -> str:
    return "not measured yet" if row is None else f"{row.bits_per_dim:.3f} +- {row.standard_error:.3f}"


def _latents_made(results: Results) -> str:
    """On what, and at what cost."""
    rows, latest = results.latents, results.latents[-1]
    minutes, sizes = sum(row.minutes for row in rows), {row.latents: f"{row.parameters:,}" for row in rows}
    parameters = f"{sizes.get(True, '-')} parameters with latents, {sizes.get(False, '-')} without"
    return (
        f"{latest.valid_images:,} validation photos; batches of {latest.batch_size}; {parameters}; "
        f"{minutes:.0f} minutes of training in all on {' and '.join(sorted({row.hardware for row in rows}))}."
    )


def imagenet64_section() -> str:
    """What was published on either of the sets."""
    head = ["ImageNet 64x64 of", "what it is", "published on it, bits per dimension"]
    return table(head, [[name, *words] for name, words in IMAGENET64.items()])
