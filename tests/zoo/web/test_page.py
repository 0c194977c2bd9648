"""The page in a real browser: the pixels and figures of the Python package, and clear words for what is wrong."""

import functools
import http.server
import re
import threading
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import pvae_zoo
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.runtime.model import Model
from pvae_zoo.screening.colours import heat
from pvae_zoo.screening.conformal import p_values
from pvae_zoo.screening.evidence import measure
from pvae_zoo.web.site import built_page, make_site, write_site

SAME = 0.99
"""Share of pixels that must be equal; the rest may round the other way in float32. It is all of them so far."""


def do(name, **options):
    return {"do": name, **options}


def goto(url, tab="sample", **options):
    query = "&".join(f"{name}={value}" for name, value in options.items())
    return do("goto", url=f"{url}#{tab}?{query}")


def ready():
    """Until the model is open; no panel is to be seen before."""
    return do("wait", at="#about", text="parameters")


def upload(panel, file):
    return do("upload", at=f"#{panel} [name=file]", file=str(file))


def wait(panel, text):
    return do("wait", at=f"#{panel} [data-role=status]", text=text)


def values(canvases, levels, channels=1):
    """What canvases of the page show, as the package has it: uint8 ``(N, C, H, W)``."""
    images = []
    for canvas in canvases:
        rgba = np.array(canvas["rgba"], np.uint8).reshape(canvas["height"], canvas["width"], 4)
        assert (rgba[..., 3] == 255).all(), "some pixels were never drawn"
        chosen = rgba[..., :channels].transpose(2, 0, 1).astype(int)
        images.append(np.round(chosen * (levels - 1) / 255).astype(np.uint8))
    return np.array(images)


def share_equal(ours, theirs):
    assert ours.shape == theirs.shape
    return float((ours == theirs).mean())


@pytest.fixture(scope="module")
def mnist():
    return pvae_zoo.load("mnist", device="cpu")


@pytest.fixture
def digit(mnist, tmp_path):
    """A digit, and a file of it."""
    image = mnist.sample(1, seed=5)
    Image.fromarray(image[0, 0] * 255).save(tmp_path / "digit.png")
    return image, str(tmp_path / "digit.png")


PICTURES = {panel: f"#{panel} [data-role=pictures] canvas" for panel in ("sample", "complete", "latents")}


@pytest.mark.parametrize("name", ["mnist", "mnist-upsample"])
def test_a_seed_draws_what_it_draws_in_python(browser, mnist_url, name):
    *_, found, problems, foreign = browser(
        goto(mnist_url, model=name, seed=0, count=4), wait("sample", f"4 images of {name}, seed 0"),
        do("pixels", at=PICTURES["sample"]), do("problems"), do("foreign"),
    )  # fmt: skip
    assert share_equal(values(found, 2), pvae_zoo.load(name, device="cpu").sample(4, seed=0)) >= SAME
    assert problems == [] and foreign == []


def test_a_large_seed_and_a_temperature(browser, mnist_url, mnist):
    seed = 2**63 - 1
    *_, found = browser(
        goto(mnist_url, **{"seed": seed, "temperature": 0.7, "latent-temperature": 0.8}),
        wait("sample", "An image"),
        do("pixels", at=PICTURES["sample"]),
    )
    assert share_equal(values(found, 2), mnist.sample(1, seed=seed, temperature=0.7, latent_temperature=0.8)) >= SAME


def test_pixels_appear_while_they_are_drawn_and_the_page_stays_awake(browser, mnist_url):
    watch = """new Promise((done) => {
      const counts = [];
      const look = () => {
        const canvas = document.querySelector("#sample canvas");
        const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
        let unknown = 0;
        for (let i = 3; i < data.length; i += 4) unknown += data[i] === 0;
        counts.push(unknown);
        if (unknown) requestAnimationFrame(look); else done(counts);
      };
      document.querySelector("#sample [type=submit]").click();
      look();
    })"""
    *_, counts = browser(
        goto(mnist_url, count=16), wait("sample", "16 images"), do("evaluate", code=watch)
    )  # fmt: skip
    between = [count for count in counts if 0 < count < 28 * 28]
    assert len(set(between)) >= 3, "the image should grow on the screen"
    assert counts == sorted(counts, reverse=True)


def test_the_seed_stands_in_the_address(browser, mnist_url):
    *_, address = browser(
        goto(mnist_url, seed=3), wait("sample", "seed 3"), do("click", at="#sample [name=dice]"),
        do("wait", at="#sample [data-role=status]:not(:text('seed 3,'))", text="An image"),
        do("evaluate", code="location.href"),
    )  # fmt: skip
    seed = re.search(r"seed=(\d+)", address)[1]
    assert seed != "3"
    *_, drawn = browser(do("goto", url=address), wait("sample", f"seed {seed}"), do("text", at="#sample .status"))
    assert f"seed {seed}," in drawn[0]


def test_what_is_kept_is_kept_and_the_rest_is_what_python_draws(browser, mnist_url, mnist, digit):
    image, file = digit
    keep = np.arange(28)[:, None].repeat(28, 1) < 14
    *_, found = browser(
        goto(mnist_url, "complete"), ready(), upload("complete", file),
        wait("complete", "digit.png"),
        do("click", at="#complete [type=submit]"), wait("complete", "4 drawings"),
        do("pixels", at=PICTURES["complete"]),
    )  # fmt: skip
    drawn = values(found, 2)
    assert (drawn[:, :, keep] == image[:, :, keep]).all()
    assert share_equal(drawn, mnist.complete(image.repeat(4, 0), keep, seed=0)) >= SAME


def test_painting_by_keyboard(browser, mnist_url):
    canvas = "#complete canvas.editor"
    *_, editor, found = browser(
        goto(mnist_url, "complete"), do("press", at=canvas, key="Space"), do("press", at=canvas, key="ArrowUp"),
        do("press", at=canvas, key="ArrowUp"), do("press", at=canvas, key="Space"), do("press", at=canvas, key="Tab"),
        do("click", at="#complete [type=submit]"), wait("complete", "4 drawings"), do("pixels", at=canvas),
        do("pixels", at=PICTURES["complete"]),
    )  # fmt: skip
    known = np.array(editor[0]["rgba"]).reshape(28, 28, 4)[..., 3] == 255
    assert known.sum() == 15 and known[11:16, 13:16].all()  # two squares of 3, one above the other by 2
    assert (values(found, 2)[:, 0, known] == 1).all()


@pytest.mark.parametrize(
    ("prepare", "line"),
    [
        ([], "nothing is kept: paint something, or open an image"),
        ([do("slide", at="#complete [name=rows]", value="28")], "nothing is left to draw"),
    ],
)
def test_nothing_to_complete(browser, mnist_url, prepare, line):
    *_, found = browser(
        goto(mnist_url, "complete"), ready(), *prepare,
        do("click", at="#complete [type=submit]"), do("wait", at="#complete .error", text="nothing"),
        do("text", at="#complete .error"),
    )  # fmt: skip
    assert line in found[0]


def test_a_score_is_that_of_nll(browser, mnist_url, mnist, digit):
    image, file = digit
    *_, table, heat, most = browser(
        goto(mnist_url, "score"), ready(), upload("score", file),
        wait("score", "bits per dimension"),
        do("text", at="#score td"), do("pixels", at="#score [data-role=heat] canvas"),
        do("text", at="#score [data-role=most]"),
    )  # fmt: skip
    scores = mnist.nll(image)
    bits, nats, reconstruction, kl = map(float, table)
    assert abs(bits - scores.bits_per_dim[0]) <= 0.01 and abs(bits - scores.bits_per_dim[0]) < 1e-4
    expected = [scores.nll_nats[0], scores.reconstruction_nats[0], scores.kl_nats[0, 0]]
    assert np.allclose([nats, reconstruction, kl], expected, atol=0.006)
    surprise = -scores.log_prob[0, 0] / np.log(2)
    assert float(most[0].split()[0]) == pytest.approx(surprise.max(), abs=0.051)
    brightness = np.array(heat[0]["rgba"]).reshape(28, 28, 4)[..., :3].sum(-1)
    assert np.unravel_index(brightness.argmax(), (28, 28)) == np.unravel_index(surprise.argmax(), (28, 28))


def test_a_calibration_gives_the_p_value_and_the_scale_of_screen(browser, mnist_url, mnist, digit, tmp_path):
    image, file = digit
    screen = pvae_zoo.calibrate(mnist, mnist.sample(40, seed=9))
    known, path, other = screen.calibration, tmp_path / "x.screen.json", tmp_path / "other.json"
    known.save(path)
    other.write_text(known.to_json().replace(known.model_sha256, "0" * 64))
    choose = functools.partial(do, "upload", at="#score [name=calibration]")
    answers = browser(
        goto(mnist_url, "score"), ready(), choose(file=str(other)),
        do("wait", at="#score .error", text="model"), do("text", at="#score .error"),
        choose(file=str(path)), do("wait", at="#score [data-role=calibration]", text="40"),
        do("text", at="#score [data-role=calibration]"), upload("score", file), wait("score", "bits per dimension"),
        do("text", at="#score td"), do("pixels", at="#score [data-role=heat] canvas"),
        do("text", at="#score [data-role=most]"),
    )  # fmt: skip
    error, said, table, heat_map, most = (answer for answer in answers if isinstance(answer, list))
    assert error == ["other.json was made with another model than mnist"] and "40 of x.screen.json" in said[0]
    evidence = measure(mnist, image)
    deviations = known.reference.deviations(known.reference.scores(evidence))
    p = p_values(known.ranked_without_codec, known.reference.strangeness(deviations, codec=False))[0]
    spoke = known.reference.shares(deviations, codec=False)[0].argmax()
    assert float(table[4]) == pytest.approx(p, abs=6e-5)
    assert table[5] == f"{known.names[spoke]} {deviations[0, spoke]:+.1f}"
    assert most == [f"{known.most_bits:.1f} bits"]
    shown = np.array(heat_map[0]["rgba"]).reshape(28, 28, 4)[..., :3]
    assert np.abs(shown - heat(evidence.surprise_bits[0] / known.most_bits).astype(int)).max() <= 2


def test_single_pixels_are_read_by_keyboard(browser, mnist_url, mnist, digit):
    image, file = digit
    canvas = "#score [data-role=heat] canvas"
    *_, reading = browser(
        goto(mnist_url, "score"), ready(), upload("score", file),
        wait("score", "bits per dimension"),
        do("press", at=canvas, key="ArrowRight"), do("press", at=canvas, key="ArrowDown"),
        do("text", at="#score [data-role=reading]"),
    )  # fmt: skip
    bits = -mnist.nll(image).log_prob[0, 0, 1, 1] / np.log(2)
    assert reading == [f"Row 2, column 2: {bits:.2f} bits."]


def test_latents_hold_all_other_noise(browser, mnist_url, mnist):
    drawn = [do("pixels", at=PICTURES["latents"])]
    found = browser(
        goto(mnist_url, "latents", seed=2), wait("latents", "Drawn"), do("pixels", at=PICTURES["latents"]),
        do("click", at="[data-level=z1]"), pause(), *drawn, do("click", at="#latents [name=reset]"), pause(),
        do("click", at="[data-level='the pixels']"), pause(), *drawn, do("click", at="#latents [name=reset]"), pause(),
        do("slide", at="#latents [name=share]", value="0.5"), pause(), *drawn,
    )  # fmt: skip
    first, top, pixels, half = (values(canvases, 2) for canvases in found if isinstance(canvases, list))
    assert share_equal(first, mnist.sample(1, seed=2)) >= SAME
    assert share_equal(top, mnist.vary("top", 2, seed=2)[1:]) >= SAME
    assert share_equal(pixels, mnist.vary("pixels", 2, seed=2)[1:]) >= SAME
    assert share_equal(half, mnist.interpolate(None, 3, seed=2)[1:2]) >= SAME


def pause():
    """Long enough for a click to have begun its drawing, and for that to end."""
    return do("evaluate", code="""new Promise((done) => {
      let calm = 0;
      const look = () => {
        calm = document.querySelector("#latents progress").classList.contains("busy") ? 0 : calm + 1;
        if (calm > 5) done(null); else setTimeout(look, 100);
      };
      look();
    })""")  # fmt: skip


def test_a_dimension_of_z_changes_the_image(browser, mnist_url):
    moves = [do("slide", at=f"#latents .dimensions label:nth-child({i}) input", value="-3") for i in (1, 2, 3, 4)]
    found = browser(
        goto(mnist_url, "latents"), wait("latents", "Drawn"), do("pixels", at=PICTURES["latents"]), *moves, pause(),
        do("pixels", at=PICTURES["latents"]),
    )  # fmt: skip
    before, after = (canvases for canvases in found if isinstance(canvases, list))
    assert not np.array_equal(values(before, 2), values(after, 2))


def test_two_levels_and_colour(browser, served, levels, tmp_path):
    runtime = Model(levels.bundle, device="cpu")
    image = runtime.sample(1, seed=4)
    channels = np.round(image[0].transpose(1, 2, 0) * 255.0 / 3).astype(np.uint8)
    Image.fromarray(channels).save(tmp_path / "colour.png")
    keep = np.arange(7)[:, None].repeat(6, 1) < 4
    with served(make_site([levels.bundle])) as url:
        found = browser(
            goto(url, count=4), wait("sample", "4 images"), do("pixels", at=PICTURES["sample"]),
            do("click", at="#tab-latents"), wait("latents", "Drawn"), do("click", at="[data-level=z2]"), pause(),
            do("pixels", at=PICTURES["latents"]), do("click", at="#latents [name=reset]"), pause(),
            do("click", at="[data-level=z1]"), pause(), do("pixels", at=PICTURES["latents"]),
            do("click", at="#tab-score"), upload("score", tmp_path / "colour.png"),
            wait("score", "bits per dimension"), do("text", at="#score td"), do("click", at="#tab-complete"),
            upload("complete", tmp_path / "colour.png"),
            do("click", at="#complete [type=submit]"), wait("complete", "4 drawings"),
            do("pixels", at=PICTURES["complete"]), do("problems"),
        )  # fmt: skip
    *lists, problems = (answer for answer in found if isinstance(answer, list))
    assert problems == []
    samples, top, bottom, figures, completions = lists
    assert share_equal(values(samples, 4, 3), runtime.sample(4, seed=0)) >= SAME
    assert share_equal(values(top, 4, 3), runtime.vary("top", 2)[1:]) >= SAME
    assert share_equal(values(bottom, 4, 3), runtime.vary("bottom", 2)[1:]) >= SAME
    scores = runtime.nll(image)
    assert float(figures[0]) == pytest.approx(scores.bits_per_dim[0], abs=1e-4)
    assert [float(figure) for figure in figures[3:]] == pytest.approx(list(scores.kl_nats[0]), abs=0.006)
    assert share_equal(values(completions, 4, 3), runtime.complete(image.repeat(4, 0), keep)) >= SAME


def test_a_large_image_is_completed_with_fewer_candidates(browser, served, make_tiny, tmp_path):
    tiny = make_tiny(image=(3, 38, 40, 4), conditioning="upsample", kind="map", embedding=1)
    runtime = Model(tiny.bundle, device="cpu")
    image = runtime.sample(1, seed=1)
    Image.fromarray((image[0].transpose(1, 2, 0) * 85).astype(np.uint8)).save(tmp_path / "large.png")
    keep = np.arange(38)[:, None].repeat(40, 1) < 19
    with served(make_site([tiny.bundle])) as url:
        *_, found = browser(
            goto(url, "complete"), ready(), upload("complete", tmp_path / "large.png"), wait("complete", "large.png"),
            do("select", at="#complete [name=count]", value="1"), do("click", at="#complete [type=submit]"),
            wait("complete", "One drawing"), do("pixels", at=PICTURES["complete"]),
        )  # fmt: skip
    drawn = values(found, 4, 3)
    assert (drawn[:, :, keep] == image[:, :, keep]).all()
    assert share_equal(drawn, runtime.complete(image, keep, candidates=8)) >= SAME


WRONG = {
    "size.png": (Image.new("L", (30, 28)), "size.png is 30x28, the model takes 28x28: tick “Make it fit”"),
    "colour.png": (Image.new("RGB", (28, 28), "red"), "colour.png is in colour, the model takes grey images"),
    "grey.png": (Image.new("L", (28, 28), 100), "grey.png has grey values, the model takes black and white"),
    "clear.png": (Image.new("RGBA", (28, 28), (0, 0, 0, 9)), "clear.png has transparent pixels"),
    "deep.png": (Image.new("I;16", (28, 28)), "deep.png has more than 8 bits a value"),
    "text.png": (b"no image", "text.png is damaged or no image that this browser reads"),
    "empty.png": (b"", "empty.png is empty: fetch it again"),
}


@pytest.fixture(scope="module")
def wrong(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wrong")
    for name, (content, _) in WRONG.items():
        if isinstance(content, bytes):
            (folder / name).write_bytes(content)
        else:
            content.save(folder / name)
    frames = [Image.new("L", (28, 28), shade) for shade in (0, 255)]
    frames[0].save(folder / "moving.gif", save_all=True, append_images=frames[1:])
    (folder / "cut.png").write_bytes((folder / "size.png").read_bytes()[:40])
    return folder


def test_images_that_do_not_fit(browser, mnist_url, wrong):
    names = [*WRONG, "moving.gif", "cut.png"]
    actions = [goto(mnist_url, "score"), ready()]
    for name in names:
        actions += [upload("score", wrong / name)]
        actions += [do("wait", at="#score .error", text=name), do("text", at="#score .error")]
    found = [answer[0] for answer in browser(*actions) if isinstance(answer, list)]
    expected = [line for _, line in WRONG.values()] + ["moving.gif holds 2 frames", "cut.png is damaged or no image"]
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_an_image_is_made_to_fit_if_asked_and_it_is_said(browser, mnist_url, wrong):
    *_, name = browser(
        goto(mnist_url, "score"), do("click", at="#score [name=fit]"),
        upload("score", wrong / "size.png"), wait("score", "bits per dimension"),
        do("text", at="#score [data-role=name]"),
    )  # fmt: skip
    assert name == ["size.png (is 30x28, the model takes 28x28: cropped and resized)"]


@pytest.mark.parametrize("seed", ["-1", "1.5", "seven", str(2**63), ""])
def test_what_is_no_seed(browser, mnist_url, seed):
    *_, found = browser(
        goto(mnist_url), wait("sample", "An image"), do("fill", at="#sample [name=seed]", value=seed),
        do("click", at="#sample [type=submit]"), do("wait", at="#sample .error", text="is no seed"),
        do("text", at="#sample .error"),
    )  # fmt: skip
    assert found == [f"“{seed}” is no seed: choose a whole number from 0 to 2^63 - 1"]


def spoil(name, change):
    """What turns a copy of a bundle into one that does not load."""

    def apply(folder):
        path = folder / name
        path.write_bytes(change(path.read_bytes()))

    return apply


SPOILT = {
    "cut": (
        spoil("decoder_step.onnx", lambda data: data[:-9]),
        r"decoder_step\.onnx has \d+ bytes, expected \d+: copy",
    ),
    "flipped": (spoil("prior.onnx", lambda data: data[:-1] + bytes([data[-1] ^ 1])), r"prior\.onnx is not what was"),
    "no config": (lambda folder: (folder / "config.json").unlink(), r"config\.json cannot be fetched \(HTTP 404\)"),
    "no json": (spoil("config.json", lambda data: data[:50]), r"config\.json is no JSON"),
    "newer": (spoil("config.json", lambda data: data.replace(b'"format": 1', b'"format": 2')), "bundle format 2; this"),
}


@pytest.mark.parametrize("what", SPOILT)
def test_a_model_that_does_not_load_does_not_take_the_page_with_it(browser, served, mnist, gates, copy_bundle, what):
    change, line = SPOILT[what]
    folder = copy_bundle(gates.bundle)
    site = make_site([Bundle(folder), mnist.bundle])
    change(folder)
    with served(site) as url:
        found = browser(
            goto(url), do("wait", at="#failure", text="tiny"), do("text", at="#failure"),
            do("select", at="#model", value="mnist"), wait("sample", "An image of mnist"), do("text", at="#failure"),
        )  # fmt: skip
    lines = [answer[0] for answer in found if isinstance(answer, list)]
    assert re.search(line, lines[0]) and lines[1] == ""


@pytest.mark.parametrize(
    ("code", "line"),
    [
        ("WebAssembly.validate = () => false", "this browser has no WebAssembly SIMD: use a newer one"),
        ("delete globalThis.WebAssembly", "this browser has no WebAssembly: use a newer one"),
    ],
)
def test_a_browser_that_is_too_old(browser, mnist_url, code, line):
    *_, found = browser(
        do("script", code=code), goto(mnist_url), do("wait", at="#failure", text="browser"), do("text", at="#failure")
    )
    assert found == [line]


def test_a_site_without_models(browser, served, page):
    site = make_site([], built_page())
    with served(site) as url:
        *_, found = browser(goto(url), do("wait", at="#failure", text="names no models"), do("text", at="#failure"))
    assert found[0].endswith("bundles/index.json names no models: make the site again with pvae-zoo web")


def test_it_works_below_any_path_of_a_static_host(browser, gates, tmp_path):
    write_site(make_site([gates.bundle]), tmp_path / "some" / "where")

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=tmp_path)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_address[1]}/some/where/"
        *_, found = browser(goto(url), wait("sample", "An image of tiny"), do("pixels", at=PICTURES["sample"]))
        server.shutdown()
        thread.join()
    assert share_equal(values(found, 2), Model(gates.bundle, device="cpu").sample(1, seed=0)) >= SAME


def test_tabs_by_keyboard_and_what_a_screen_reader_hears(browser, mnist_url):
    found = browser(
        goto(mnist_url), wait("sample", "An image"), do("press", at="#tab-sample", key="ArrowLeft"),
        do("evaluate", code="document.activeElement.id"), do("press", at="#tab-score", key="ArrowRight"),
        do("press", at="#tab-sample", key="ArrowRight"), do("evaluate", code="document.activeElement.id"),
        do("evaluate", code="""[...document.querySelectorAll("input, select, button, canvas")].filter((element) =>
          !(element.labels?.length || element.textContent.trim() || element.ariaLabel)
        ).map((element) => element.outerHTML)"""),
    )  # fmt: skip
    assert found[3] == "tab-score" and found[6] == "tab-complete"
    assert found[7] == [], "every control and picture has a name"


@pytest.mark.parametrize("tab", ["sample", "complete", "latents", "score"])
def test_it_fits_a_phone(browser, mnist_url, tab):
    *_, width = browser(
        do("size", width=360, height=740), goto(mnist_url, tab), do("wait", at="#about", text="parameters"),
        do("evaluate", code="document.documentElement.scrollWidth"),
    )  # fmt: skip
    assert width <= 360


def test_the_page_is_small():
    try:
        folder = built_page()
    except pvae_zoo.base.errors.PvaeZooError as error:
        pytest.skip(str(error))
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".wasm"]
    assert sum(path.stat().st_size for path in files) <= 200_000
    assert not [path for path in files if "://cdn" in path.read_text("utf-8", errors="replace")]
    assert Path(folder / "index.html") in files
