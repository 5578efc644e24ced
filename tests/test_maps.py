"""The models that the experiment on maps has beside VAE-SNE on cells."""

import sys
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "experiments"
pytestmark = pytest.mark.process


@pytest.fixture
def maps(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    import maps

    return maps


def test_vaes_see_the_same_cells_as_counts_and_as_real_numbers(maps):
    data, schemas = maps.data_sets()["cells"], []

    def opened(how):
        def then(schema):
            source = how(schema)
            schemas.append(source.schema)
            return source

        return then

    watched = data._replace(opened=opened(data.opened), as_real=opened(data.as_real))
    parts, _ = maps.build_parts(
        maps.default_config("vae-sne").with_flags(**data.flags, test=1 / 3, components=8), opened=data.opened
    )
    batch = parts.test.at(jnp.arange(parts.test.size))
    label = np.asarray(batch["factors"])[:, parts.test.factor_names.index("type")]
    rows = maps.Rows(np.asarray(batch["x"]), np.asarray(batch["x"]), label, label)
    codes = maps.vaes(watched, maps.Args(seeds=2, steps=2), rows)
    assert {name: [each.shape for each in of] for name, of in codes.items()} == {
        "VAE, counts": [(len(label), 10)] * 2,
        "VAE, every column real": [(len(label), 10)] * 2,
    }
    assert all(not np.array_equal(*of) for of in codes.values())  # a seed each
    kinds = [{column.kind for column in schema.used} for schema in schemas]
    assert kinds[0] == {"count"}
    assert kinds[-1] == {"real"}
    np.testing.assert_allclose([column.scale for column in schemas[-1].used][:3], std_of(maps, parts)[:3], rtol=1e-5)
    other = rows._replace(label=label[::-1])
    with pytest.raises(AssertionError, match="must be the same"):
        maps.vaes(watched, maps.Args(seeds=1, steps=1), other)


def std_of(maps, parts):
    """The standard deviations of the counts of the rows to train on."""
    return np.asarray(parts.training.at(jnp.arange(parts.training.size))["x"]).std(axis=0)


class Fake:
    """Stands for umap-learn: the first two columns."""

    def __init__(self, **options):
        self.options = options

    def fit(self, x):
        self.shape, self.sum = x.shape, np.abs(x).sum()
        return self

    def transform(self, x):
        assert x.shape[1] == self.shape[1]
        return x[:, :2] + self.sum


def test_umap_is_also_fitted_to_principal_components(maps, monkeypatch):
    monkeypatch.setitem(sys.modules, "umap", SimpleNamespace(UMAP=Fake))
    monkeypatch.setitem(sys.modules, "openTSNE", SimpleNamespace(TSNE=Fake))
    rng = np.random.default_rng(0)
    train, test = rng.normal(size=(60, 30)), rng.normal(size=(10, 30))
    found = maps.peers(train, test, 1, reduced=True)
    assert list(found) == ["UMAP", "UMAP of 20 components", "openTSNE"]
    first = maps.PCA(20, random_state=0).fit(train)
    of_train = np.abs(first.transform(train)).sum()
    np.testing.assert_allclose(found["UMAP of 20 components"], first.transform(test)[:, :2] + of_train)
    np.testing.assert_allclose(found["UMAP"], test[:, :2] + np.abs(train).sum())
    assert list(maps.peers(train, test, 1)) == ["UMAP", "openTSNE"]
