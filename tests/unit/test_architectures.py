"""Model presets: the dimensions give the parameters that the authors state."""

from __future__ import annotations

import pytest

from models.architectures import ARCHITECTURES, architecture
from models.errors import InputError


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_dimensions_give_the_published_parameters(name: str) -> None:
    model = architecture(name)
    assert model.derived_parameters == pytest.approx(model.parameters, rel=0.01 if model.dense else 0.015)
    # some authors count the embedding of a token among what it uses, some do not
    embedding = model.vocabulary * model.hidden
    used = model.derived_parameters - model.moe_layers * (model.experts - model.top_k) * model.expert_parameters
    assert used - 2 * embedding < model.active * 1.03
    assert used > model.active * 0.97


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_numbers_fit_each_other(name: str) -> None:
    model = architecture(name)
    assert 0 <= model.moe_layers <= model.layers
    assert model.dense or 1 <= model.top_k <= model.experts
    assert model.dense == (model.experts == 0) == (model.top_k == 0) == (model.expert_inner == 0)
    assert model.experts % model.expert_groups == 0
    assert 1 <= model.top_groups <= model.expert_groups
    assert model.heads % model.kv_heads == 0
    assert (model.dense_inner > 0) == (model.dense_layers > 0)
    assert model.context >= 2048


def test_bytes_of_an_expert_as_published_for_llep() -> None:
    assert 2 * architecture("gpt-oss-120b").expert_parameters == 49_766_400
    assert 2 * architecture("deepseek-v3").expert_parameters == 88_080_384
    assert 2 * architecture("kimi-k2").expert_parameters == 88_080_384


def test_latent_attention_keeps_576_elements_a_token() -> None:
    assert architecture("deepseek-v3").kv_elements == 576
    assert architecture("mixtral-8x7b").kv_elements == 2 * 8 * 128


def test_a_tied_head_counts_once() -> None:
    """Bloom's 176.2 billion parameters; a second head would be two per cent more."""
    bloom = architecture("bloom-176b")
    assert bloom.embedding_parameters == bloom.vocabulary * bloom.hidden
    assert bloom.derived_parameters == pytest.approx(176.2e9, rel=0.002)


def test_unknown_name_has_a_hint() -> None:
    with pytest.raises(InputError, match="unknown model 'deepseek-v4'; did you mean 'deepseek-v3'"):
        architecture("deepseek-v4")
