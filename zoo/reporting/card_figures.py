"""The measured part of a card: tables of bounds and of codecs, and what each level of latents carries."""

from __future__ import annotations

from typing import Any

from pvae_zoo.contract.folder import Bundle
from pvae_zoo.data.codecs import WEBP
from pvae_zoo.reporting.evaluation import (
    CodecSizes,
    Thumbnails,
    stored_codecs,
    stored_descent,
    stored_evaluations,
    stored_thumbnails,
)


def bounds_table(results: list[dict[str, Any]]) -> str:
    """A row for each bound of `stored_evaluations`; a sentence where there is none."""
    lines = [
        "| images of | split | number | -ELBO | bits/dim | reconstruction | KL | IWAE |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in results:
        iwae = f"{row['iwae_nll_nats']:.2f} (K = {row['samples']})" if row["iwae_nll_nats"] is not None else ""
        images = f"{row['images']:,}" + (f" of {row['of']:,}, drawn at random" if row["images"] < row["of"] else "")
        kl = " + ".join(f"{value:.2f}" for value in row["kl_nats"])
        lines.append(
            f"| {_data(row['dataset'], row['jpeg'])} | {row['split']} | {images} | {row['nll_nats']:.2f} +- "
            f"{row['standard_error_nats']:.2f} | {row['bits_per_dim']:.4f} | {row['reconstruction_nats']:.2f} "
            f"| {kl} | {iwae} |"
        )
    return "\n".join(lines) if results else "Not measured yet."


def codecs_table(bundle: Bundle) -> str:
    """Lossless codecs beside the bound on the same pixels; nothing where they were not measured."""
    found = [(sizes, _bound_of(bundle, sizes)) for sizes in stored_codecs(bundle)]
    shown = [(sizes, bound) for sizes, bound in found if bound is not None]
    if not shown:
        return ""
    names = list(dict.fromkeys(name for sizes, _ in shown for name in sizes.codecs))
    head = ["images of", "split", "number", *names, bundle.name, f"of {WEBP}"]
    lines = [head, ["---"] * len(head)]
    for sizes, bound in shown:
        bits = [f"{sizes.codecs[name]:.3f}" if name in sizes.codecs else "" for name in names]
        share = f"{bound / sizes.codecs[WEBP]:.3f}" if sizes.codecs.get(WEBP) else ""
        of = [_data(sizes.dataset, sizes.jpeg), sizes.split, f"{sizes.images:,}"]
        lines.append([*of, *bits, f"{bound:.3f}", share])
    table = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return (
        "Bits per dimension beside lossless codecs, on the very same pixels, each image a file of its own; the last "
        f"column is the model's share of {WEBP}.\n\n{table}\n\n"
    )


def descent_text(bundle: Bundle) -> str:
    """The model that this one was made from, on the same images; nothing where that was not measured."""
    lines = [
        f"{row.ancestor}, which it was made from, has {row.bits_per_dim:.4f} bits per dimension on the same "
        f"{row.images:,} {row.split} images: this model has {abs(row.difference_bits_per_dim):.4f} +- "
        f"{row.standard_error_bits_per_dim:.4f} {'less' if row.difference_bits_per_dim < 0 else 'more'}, "
        "image by image."
        for row in stored_descent(bundle)
    ]
    return "\n".join(lines) + ("\n\n" if lines else "")


def _bound_of(bundle: Bundle, sizes: CodecSizes) -> float | None:
    """Bits per dimension of the bound on just these pixels, from the most draws; None where it is not there."""
    rows = [row for row in stored_evaluations(bundle) if sizes.is_of(row)]
    return float(rows[-1]["bits_per_dim"]) if rows else None


def _data(dataset: str, jpeg: int | None) -> str:
    return (dataset or "-") + ("" if jpeg is None else f", as JPEG of quality {jpeg}")


def levels_text(bundle: Bundle) -> str:
    """What each level of latents carries, in nats and in thumbnails; nothing where that was not measured."""
    found = stored_thumbnails(bundle)
    if not found:
        return ""
    rows = ["| images of | number | level | KL, nats | thumbnail | R2 | off by |", "|---|---|---|---|---|---|---|"]
    for thumbnails in found:
        kl = _kl(bundle, thumbnails)
        for number, (size, r2, rms) in enumerate(zip(thumbnails.sizes, thumbnails.r2, thumbnails.rms, strict=True)):
            nats = f"{kl[number]:.1f}" if number < len(kl) else ""
            share = "they do not vary" if r2 is None else f"{r2:.3f}"
            rows.append(
                f"| {_data(thumbnails.dataset, None)} | {thumbnails.images:,} | z{number + 1} | {nats} | {size} "
                f"| {share} | {100 * rms:.1f} % |"
            )
    alone = "" if len(bundle.config.latents) == 1 else " (from z2 alone, with z1 drawn anew, of a smaller one)"
    return (
        "## What each level carries\n\n"
        f"The KL of each level, and how much of an image's thumbnail comes back in what is drawn from z1{alone}: "
        "pixels are drawn, averaged and compared with the image's. R2 is 1 - squared error / variance around the mean "
        "colour of the set: 1 is all of it, 0 no more than that colour says. The last column is the root of the mean "
        "squared error, as a share of the range of values.\n\n" + "\n".join(rows) + "\n\n"
    )


def _kl(bundle: Bundle, thumbnails: Thumbnails) -> list[float]:
    """Of the bound with the most images of the same data, without JPEG copies."""
    of = (thumbnails.dataset, thumbnails.split, None)
    rows = [row for row in stored_evaluations(bundle) if (row["dataset"], row["split"], row["jpeg"]) == of]
    return list(max(rows, key=lambda row: int(row["images"]))["kl_nats"]) if rows else []
