from dataclasses import replace

import pytest

from pvae_zoo.models.masked_conv import POINT, MaskedConv2d
from pvae_zoo.models.pixelvae import PixelVAE
from pvae_zoo.paper.studies import FULL, QUICK, Study, studies, study_recipe, table_studies


def test_every_number_of_layers_is_there_with_latents_and_without():
    names = [study.name for study in studies(FULL)]
    assert [f"pixelvae-{layers}" for layers in (0, 1, 2, 4, 8, 12)] == names[:6]
    assert [f"pixelcnn-{layers}" for layers in (1, 2, 4, 8, 12)] == names[6:]


@pytest.mark.parametrize("budget", [FULL, QUICK], ids=["full", "quick"])
def test_all_studies_have_one_budget(budget):
    trainings = [study_recipe(study, budget).training for study in studies(budget)]
    assert {replace(training, kl_warmup_steps=()) for training in trainings} == {
        replace(trainings[0], kl_warmup_steps=())
    }


def test_the_vae_of_table_1_differs_from_the_figures_in_its_steps_alone():
    vae, *others = table_studies(FULL)
    assert vae.name == "pixelvae-0-x4" and set(others) <= set(studies(FULL))
    long, short = (study_recipe(study, FULL) for study in (vae, Study("pixelvae", 0)))
    assert long.model == short.model and long.training.steps == 4 * short.training.steps


@pytest.mark.parametrize("study", studies(QUICK), ids=lambda study: study.name)
def test_layers_are_counted_by_what_reads_other_pixels(study):
    model = PixelVAE(study_recipe(study, QUICK).model)
    masked = [module for module in model.decoder.modules() if isinstance(module, MaskedConv2d)]
    assert sum(module.window != POINT for module in masked) == study.layers
    assert bool(model.architecture.latents) == (study.kind == "pixelvae")


def test_models_of_a_figure_differ_in_latents_and_layers_alone():
    few, many = (study_recipe(Study("pixelvae", layers), FULL).model for layers in (1, 12))
    assert replace(few, decoder=many.decoder) == many
    alone = study_recipe(Study("pixelcnn", 12), FULL).model
    assert alone.decoder.pixelcnn == many.decoder.pixelcnn and alone.image == many.image
