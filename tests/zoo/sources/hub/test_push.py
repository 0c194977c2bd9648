"""`push` through the real client, over real HTTP."""

import json
import shutil

import pytest
from click.testing import CliRunner
from huggingface_hub import HfApi, ModelCard, hf_hub_download
from standin import Fault

import pvae_zoo
from pvae_zoo.base.errors import PvaeZooError
from pvae_zoo.cli.app import cli
from pvae_zoo.contract.folder import Bundle
from pvae_zoo.data.datasets import ImageSet
from pvae_zoo.publishing.push import push_bundle
from pvae_zoo.reporting.evaluation import evaluate, save_evaluation
from pvae_zoo.sources.pull import pull


@pytest.fixture
def bundle(gates, copy_bundle):
    """A copy with one result."""
    copy = Bundle(copy_bundle(gates.bundle))
    model = pvae_zoo.load(str(copy.folder))
    images = ImageSet.of(model.sample(3), model.image)
    result = evaluate(model, images, split="test", samples=2, limit=None, seed=0, command="pvae-zoo evaluate tiny")
    save_evaluation(copy, result)
    return copy


def error_of(*args, **options):
    with pytest.raises(PvaeZooError) as caught:
        push_bundle(*args, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def commits(hub):
    return hub.asked("POST", "/api/models/*/commit/*")


def test_what_was_pushed_can_be_pulled(hub, client, bundle):
    pushed = push_bundle(bundle, "org/tiny", tag="v1")
    assert pushed.changed and pushed.url == f"{hub.url}/org/tiny/commit/{pushed.name.revision}"
    pulled = pull("org/tiny@v1")
    assert pulled.source == pushed.name and pulled.bundle.digest == bundle.digest
    assert pulled.bundle.evaluation() == bundle.evaluation() and pulled.pinned


def test_the_card_has_the_figures_of_the_bundle(hub, client, bundle):
    push_bundle(bundle, "org/tiny")
    card = ModelCard.load(hf_hub_download("org/tiny", "README.md"))
    row = bundle.evaluation()["results"][0]
    values = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert values["nll_nats"] == round(row["nll_nats"], 4) and f"{row['nll_nats']:.2f} +- " in card.text


def test_pushing_the_same_again_makes_no_commit(hub, client, bundle):
    first = push_bundle(bundle, "org/tiny", tag="v1")
    again = push_bundle(bundle, "org/tiny", tag="v1")
    assert again.name == first.name and not again.changed and len(commits(hub)) == 1


def test_a_new_figure_is_a_new_commit_and_sends_no_graph_again(hub, client, bundle):
    push_bundle(bundle, "org/tiny")
    path = bundle.folder / "evaluation.json"
    path.write_text(path.read_text().replace('"seed": 0', '"seed": 1'))
    hub.forget()
    assert push_bundle(bundle, "org/tiny").changed and not hub.asked("PUT")


def test_a_tag_is_never_moved(hub, client, bundle, upsample):
    first = push_bundle(bundle, "org/tiny", tag="v1")
    assert "has a tag v1 already" in error_of(upsample.bundle, "org/tiny", tag="v1")
    assert len(commits(hub)) == 1 and pull("org/tiny@v1").source == first.name
    second = push_bundle(upsample.bundle, "org/tiny", tag="v2")
    assert pull("org/tiny@v2").source == second.name != first.name
    # The first again would not be what v2 or main is.
    assert "has a tag v1 already" in error_of(bundle, "org/tiny", tag="v1")


def test_graphs_of_an_older_bundle_are_taken_away(hub, client, bundle, levels):
    push_bundle(levels.bundle, "org/tiny")
    push_bundle(bundle, "org/tiny")
    files = HfApi().list_repo_files("org/tiny")
    assert "prior_step.onnx" not in files and "decoder_step.onnx" in files


def test_a_repository_can_be_private(hub, client, bundle):
    push_bundle(bundle, "org/tiny", private=True)
    assert hub.repos["org/tiny"].private


def test_a_public_repository_is_not_taken_for_a_private_one(hub, client, bundle):
    push_bundle(bundle, "org/tiny")
    assert "org/tiny is there already and is public" in error_of(bundle, "org/tiny", private=True)
    push_bundle(bundle, "org/secret", private=True)
    assert not push_bundle(bundle, "org/secret", private=True).changed


def test_the_command_makes_a_private_repository(hub, client, bundle):
    assert run("push", bundle.folder, "org/tiny", "--private").exit_code == 0 and hub.repos["org/tiny"].private
    assert run("push", bundle.folder, "org/open").exit_code == 0 and not hub.repos["org/open"].private
    result = run("push", bundle.folder, "org/open", "--private")
    assert result.exit_code == 1 and "leave out --private" in result.stderr


def test_a_damaged_bundle_is_not_pushed(hub, client, bundle):
    (bundle.folder / "prior.onnx").write_bytes(b"x")
    assert "prior.onnx" in error_of(bundle, "org/tiny") and hub.requests == []


@pytest.mark.parametrize("token", ["hf_wrong", ""])
def test_without_the_right_token_nothing_is_pushed(hub, client, bundle, monkeypatch, token):
    monkeypatch.setenv("HF_TOKEN", token)
    assert "HF_TOKEN" in error_of(bundle, "org/tiny") and not hub.repos


@pytest.mark.parametrize("path", ["*/lfs/*", "*/commit/*"])
def test_a_push_that_breaks_off_can_be_made_again(hub, client, bundle, path):
    hub.fail(Fault(path, "P*", status=503, times=None))
    assert "answers 503" in error_of(bundle, "org/tiny", tag="v1")
    hub.heal()
    assert push_bundle(bundle, "org/tiny", tag="v1").changed
    assert pull("org/tiny@v1").bundle.digest == bundle.digest


def test_a_push_whose_answer_is_lost_is_not_made_twice(hub, client, bundle):
    hub.fail(Fault("*/commit/*", "POST", silent=True))
    assert "cannot be reached" in error_of(bundle, "org/tiny")
    assert not push_bundle(bundle, "org/tiny").changed and pull("org/tiny").bundle.digest == bundle.digest


def run(*args):
    return CliRunner().invoke(cli, list(map(str, args)), prog_name="pvae-zoo")


def test_the_command(hub, client, bundle):
    result = run("push", bundle.folder, "org/tiny", "--tag", "v1")
    assert result.exit_code == 0 and f"{bundle.folder} published: {hub.url}/org/tiny/commit/" in result.stdout
    assert "nothing to do" in run("push", bundle.folder, "org/tiny").stdout
    found = json.loads(run("push", bundle.folder, "org/tiny", "--json").stdout)
    assert found["changed"] is False and found["repo"] == "org/tiny" and len(found["commit"]) == 40


@pytest.mark.parametrize("repo", ["tiny", "org/tiny@v1", "a/b/c", "hf://", "./tiny"])
def test_the_command_wants_a_repository(hub, client, bundle, repo):
    result = run("push", bundle.folder, repo)
    assert result.exit_code in (1, 2) and "write " in result.stderr and hub.requests == []


def test_register_after_a_push(hub, client, bundle, tmp_path):
    shutil.copytree(bundle.folder, tmp_path / "zoo" / "tiny")
    commit = json.loads(run("push", bundle.folder, "org/tiny", "--json").stdout)["commit"]
    result = run("register", tmp_path / "zoo" / "tiny", "--published", f"org/tiny@{commit}", "--license", "cc0-1.0")
    assert result.exit_code == 0
    entry = json.loads((tmp_path / "zoo" / "registry.json").read_text())["models"]["tiny"]
    assert entry["repo"] == "org/tiny" and entry["commit"] == commit and entry["license"] == "cc0-1.0"
    assert run("register", tmp_path / "zoo" / "tiny", "--published", "org/tiny@v1").exit_code == 2
