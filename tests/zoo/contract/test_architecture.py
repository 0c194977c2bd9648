from dataclasses import replace

import pytest

from pvae_zoo.contract.architecture import ArchitectureError, ImageShape, stage_sizes

IMPOSSIBLE = {
    r"levels=1": {"image": (1, 4, 4, 1)},
    r"levels=257": {"image": (1, 4, 4, 257)},
    r"height=0": {"image": (1, 0, 4, 2)},
    r"decoder\.pixelcnn\.channels=7 .* 3 image": {"image": (3, 4, 4, 2), "channels": 7},
    r"decoder\.pixelcnn\.channels=0": {"channels": 0},
    r"decoder\.pixelcnn\.head=5 .* 3 image": {"image": (3, 4, 4, 2), "head": 5},
    r"decoder\.pixelcnn: rows": {"rows": 0},
    r"decoder\.pixelcnn: .*input_rows": {"input_rows": 0},
    r"decoder\.pixelcnn: .*reach": {"reach": 0},
    r"decoder\.pixelcnn: .*layers": {"layers": -1},
    r"decoder\.pixelcnn\.embedding=-1": {"embedding": -1},
    r"decoder\.pixelcnn\.dropout=1\.0": {"dropout": 1.0},
    r"latents\.stage=2: .* stages 1 to 1": {"stage": 2},
    r"latents\.stage=0": {"stage": 0},
    r"latents\.channels=0": {"latents": 0},
    r"encoder\.stem=0": {"stem": 0},
    r"encoder\.widths=0": {"widths": (0,)},
    r"encoder\.dropout=-0\.1": {"encoder_dropout": -0.1},
    r"decoder\.widths needs 2 entries": {"conditioning": "upsample", "grow": (6,)},
    r"decoder\.widths=0": {"conditioning": "upsample", "grow": (6, 0)},
    r"decoder\.conditioning=gates .* upsample": {"kind": "map"},
}


@pytest.mark.parametrize(("message", "options"), IMPOSSIBLE.items(), ids=IMPOSSIBLE.keys())
def test_what_cannot_be_built_is_refused_by_the_name_of_the_option(message, options, make_architecture):
    with pytest.raises(ArchitectureError, match=message):
        make_architecture(**options)


def test_two_vectors_are_no_hierarchy(make_architecture):
    architecture = make_architecture()
    with pytest.raises(ArchitectureError, match="latents: "):
        replace(architecture, latents=architecture.latents * 2)


def test_both_levels_may_be_read_from_one_stage(make_architecture):
    deeper = make_architecture(top=3)
    z1, z2 = deeper.latents
    same = replace(
        deeper, latents=(z1, replace(z2, stage=z1.stage)), prior=replace(deeper.prior, widths=deeper.prior.widths[:1])
    )
    assert same.latent_shapes == deeper.latent_shapes
    with pytest.raises(ArchitectureError, match="z1's stage of the encoder or a deeper one"):
        replace(
            deeper,
            latents=(replace(z1, stage=2), replace(z2, stage=1)),
            decoder=replace(deeper.decoder, widths=(6,) * 3),
        )


def test_latents_encoder_and_conditioning_go_together(make_architecture):
    architecture = make_architecture()
    without = replace(
        architecture, latents=(), encoder=None, decoder=replace(architecture.decoder, conditioning="none")
    )
    assert without.latent_shapes == []
    for wrong in (
        {"latents": architecture.latents},
        {"encoder": architecture.encoder},
        {"decoder": architecture.decoder},
    ):
        with pytest.raises(ArchitectureError, match=r"latents: .* decoder\.conditioning=none"):
            replace(without, **wrong)


def test_a_model_sees_pixels_or_has_latents(make_architecture):
    blind = {"layers": 0, "input_rows": 0, "reach": 0}
    assert not make_architecture(**blind).decoder.pixelcnn.sees_pixels
    for partly in ({**blind, "layers": 1}, {**blind, "input_rows": 1}, {**blind, "reach": 1}):
        with pytest.raises(ArchitectureError, match="to see no pixel"):
            make_architecture(**partly)
    decoder = replace(make_architecture(**blind).decoder, conditioning="none")
    with pytest.raises(ArchitectureError, match=r"reach=0: .* nothing is modelled"):
        replace(make_architecture(), latents=(), encoder=None, decoder=decoder)
    with pytest.raises(ArchitectureError, match="no prior and no decoder"):
        replace(make_architecture(), latents=(), encoder=None, decoder=replace(decoder, widths=(4,)))


def test_stages_halve_and_round_up():
    image = ImageShape(channels=1, height=28, width=17, levels=2)
    assert stage_sizes(image, 4) == [(28, 17), (14, 9), (7, 5), (4, 3), (2, 2)]
    assert stage_sizes(image, 0) == [(28, 17)]


def test_latents_are_a_vector_or_a_map_on_the_grid_of_their_stage(make_architecture):
    options = {"image": (3, 9, 5, 4), "conditioning": "upsample", "stage": 2, "widths": (4, 4, 4)}
    assert make_architecture(**options, latents=7).latent_shapes == [(7,)]
    assert make_architecture(**options, latents=7, kind="map").latent_shapes == [(7, 3, 2)]


def test_dimensions_count_every_channel():
    image = ImageShape(channels=3, height=4, width=5, levels=256)
    assert image.dimensions == 60 and image.chw == (3, 4, 5)
