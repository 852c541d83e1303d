"""Each source that needs no file against what is known of its data."""

from pydoc_data.topics import topics

import numpy as np
from opened_sources import opened, whole
from scipy import stats
from sklearn.datasets import load_digits

# Embedded -------------------------------------------------------------------------------------


def test_digits_are_those_of_scikit_learn() -> None:
    images = whole(opened("digits").rows)
    assert images.shape == (1797, 1, 8, 8)
    assert (images.min(), images.max()) == (0, 255)
    levels = np.rint(images / 255 * 16).reshape(1797, 64)
    np.testing.assert_array_equal(levels, load_digits(return_X_y=True)[0])


def test_pydoc_is_the_text_of_the_topics_in_order() -> None:
    data = opened("pydoc", context=64)
    text = whole(data.rows).astype(np.uint8).tobytes().decode(errors="ignore")
    first = topics[min(topics)]
    assert text.startswith(first)
    assert topics[max(topics)][:200] in text
    total = sum(len(topic.encode()) for topic in topics.values()) + 2 * (len(topics) - 1)
    assert len(data.rows) == total // 64


# Analytic -------------------------------------------------------------------------------------


def test_normal_numbers_have_the_distribution() -> None:
    numbers = whole(opened("normal", num_samples=2000, dimension=5, mean=3.0, std=0.5).rows)
    for column in numbers.T:
        assert stats.kstest(column, stats.norm(3, 0.5).cdf).pvalue > 1e-3
    correlation = np.corrcoef(np.concatenate([numbers[:-1], numbers[1:]], axis=1).T) - np.eye(10)
    assert np.abs(correlation).max() < 5 / np.sqrt(2000)


def test_a_normal_row_depends_on_seed_and_number_only() -> None:
    few, many = opened("normal", num_samples=300), opened("normal", num_samples=1000)
    np.testing.assert_array_equal(whole(few.rows), many.rows.read(0, 300))
    np.testing.assert_array_equal(many.rows.read(250, 530), whole(many.rows)[250:530])
    assert not np.isin(whole(opened("normal", seed=1).rows), whole(many.rows)).any()


def test_replicas_are_independent_rows_of_the_payload() -> None:
    data = opened("normal", num_samples=400, dimension=2, replicas=3)
    assert data.payload.shape == (3, 2)
    flat = whole(data.rows).reshape(400, 6)
    assert np.abs(np.corrcoef(flat.T) - np.eye(6)).max() < 5 / np.sqrt(400)
