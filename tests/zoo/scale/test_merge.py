import tracemalloc

from pvae_zoo.runtime.score_files import Figures, Row, Summary
from pvae_zoo.scale.parts import write_part
from pvae_zoo.scale.scoring import ScoredParts
from pvae_zoo.scale.scoring import ScoreHeader as Header
from pvae_zoo.scale.shards import Shard


def parts_of(folder, count):
    """Two parts of ``count`` rows together."""
    for number in (1, 2):
        block = Shard(number, 2).block(count)
        header = Header(
            model="tiny", model_sha256="ab", levels=1, samples=1, seed=0, resize=False, binarize=None, convert=False,
            shard=number, shards=2, sources=count, sources_sha256="cd", provider="CPU", version="0",
        )  # fmt: skip
        values = (Figures(bits_per_dim=i / 9, nll_nats=i, reconstruction_nats=i, kl_nats=(0.5,), iwae_nll_nats=None)
                  for i in block)  # fmt: skip
        write_part(folder, header, lambda done, v=values: (Row("x.png", f) for f in v), batch_size=100)


def merged(folder):
    """The summary of the parts, and the most memory that making it took."""
    tracemalloc.start()
    summary = Summary()
    for row in ScoredParts(folder).rows():
        summary.add(row)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return summary, peak


def test_merging_takes_the_same_memory_for_any_number_of_images(tmp_path):
    few, many = tmp_path / "few", tmp_path / "many"
    parts_of(few, 500)
    parts_of(many, 5000)
    merged(few)  # imports
    (_, small), (summary, large) = merged(few), merged(many)
    assert summary.count == 5000 and large < 1.2 * small + 10_000
