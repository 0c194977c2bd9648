"""``web``: the page that samples, completes and scores in a browser."""

from __future__ import annotations

import webbrowser
from pathlib import Path

import click

from pvae_zoo.cli.models import open_admitted
from pvae_zoo.cli.options import json_option, refuse, trust_option
from pvae_zoo.cli.output import echo_json


@click.command("web")
@click.argument("models", nargs=-1, metavar="[MODEL]...")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8017,
    show_default=True,
    metavar="N",
    help="Port; 0 takes any that is free.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address; another one lets other machines in.")
@click.option("--open", "opens", is_flag=True, help="Open the page in the browser.")
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), metavar="DIR", help="Write the site for a static host instead."
)
@trust_option
@json_option
def web_command(models: tuple[str, ...], port: int, host: str, opens: bool, out: Path | None, as_json: bool) -> None:
    """Serve the page with the given models, by default all that are installed, until Ctrl-C.

    In a checkout the page is built when it is first asked for, by npm; wheels of a release have it in them. It computes
    in the browser, over onnxruntime-web; nothing leaves the machine that it is open on. --out writes
    it, models included, to a folder that any static host can serve from any path.

    \b
    Example:
        pvae-zoo web
        pvae-zoo web mnist ./my-bundle --port 9000 --open
        pvae-zoo web --out site/
    """
    from pvae_zoo.sources.registry import model_names
    from pvae_zoo.web.building import ready_page
    from pvae_zoo.web.server import SiteServer, is_loopback
    from pvae_zoo.web.site import make_site, write_site

    if out is not None:
        refuse("port", "host", "opens", because="--out writes files and serves nothing")
    page = ready_page(lambda line: click.echo(line, err=True))
    bundles = [open_admitted(model) for model in models or model_names()]
    site = make_site(bundles, page)
    names = [bundle.name for bundle in bundles]
    if out is not None:
        size = write_site(site, out)
        line = f"{out}: the page with {', '.join(names)}, {size / 2**20:.1f} MiB"
        _report(as_json, line, path=str(out), models=names, bytes=size)
        return
    with SiteServer(site, host, port) as server:
        _report(as_json, f"{server.url} with {', '.join(names)} (Ctrl-C ends it)", url=server.url, models=names)
        if not is_loopback(host):
            click.echo("Other machines can reach this page: --host 127.0.0.1 keeps it to this one", err=True)
        if opens:
            webbrowser.open(server.url)
        server.serve_forever(poll_interval=0.1)


def _report(as_json: bool, line: str, **figures: object) -> None:
    if as_json:
        echo_json(figures)
    else:
        click.echo(line)
