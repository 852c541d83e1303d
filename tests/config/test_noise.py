"""Addressed noise: Philox4x64-10 at a key and counter that the address alone decides."""

import hashlib

import numpy as np
import pytest
from scipy import stats

from collapse_ray.config.noise import generator, sample_generators, torch_seed

ADDRESS = (7, 1, "generate")
KEY = hashlib.sha256(b'[7, 1, "generate"]').digest()
WORDS = [int.from_bytes(KEY[:8], "little"), int.from_bytes(KEY[8:16], "little")]


def philox4x64(counter: list[int], key: list[int]) -> list[int]:
    """Ten rounds, as Salmon et al. (SC 2011) define them."""
    mask = 2**64 - 1
    for _ in range(10):
        product_0, product_1 = 0xD2E7470EE14C6C93 * counter[0], 0xCA5A826395121157 * counter[2]
        counter = [
            (product_1 >> 64) ^ counter[1] ^ key[0],
            product_1 & mask,
            (product_0 >> 64) ^ counter[3] ^ key[1],
            product_0 & mask,
        ]
        key = [(key[0] + 0x9E3779B97F4A7C15) & mask, (key[1] + 0xBB67AE8584CAA73B) & mask]
    return counter


def raw(stream: np.random.Generator, num_words: int) -> list[int]:
    return [int(word) for word in np.atleast_1d(stream.bit_generator.random_raw(num_words))]  # type: ignore[attr-defined]


def test_reference_gives_the_known_answer() -> None:
    """Random123's kat_vectors: counter and key zero."""
    assert philox4x64([0] * 4, [0, 0]) == [
        0x16554D9ECA36314C,
        0xDB20FE9D672D0FDC,
        0xD7E772CEE186176B,
        0x7E68B68AEC7BA23B,
    ]


def test_stream_is_philox_at_the_address() -> None:
    """NumPy counts before it draws, so the first block is number 1."""
    expected = philox4x64([1, 0, 0, 0], WORDS) + philox4x64([2, 0, 0, 0], WORDS)
    assert raw(generator(*ADDRESS), 8) == expected


@pytest.mark.parametrize("sample_id", [0, 1, 2**31, 2**64 - 1])
def test_sample_stream_is_philox_at_its_own_counter(sample_id: int) -> None:
    (stream,) = sample_generators(np.array([sample_id], dtype=np.uint64), *ADDRESS)
    assert raw(stream, 4) == philox4x64([1, 0, sample_id, 1], WORDS)


def test_golden_values() -> None:
    """Frozen: whoever changes these changes every published artifact."""
    assert torch_seed(*ADDRESS) == WORDS[0] >> 1 == 6467314141590166787
    assert generator(*ADDRESS).integers(1000, size=4).tolist() == [118, 673, 176, 775]
    (stream,) = sample_generators(np.array([3]), *ADDRESS)
    assert stream.integers(1000, size=4).tolist() == [971, 209, 131, 619]


def test_key_keeps_all_its_bits() -> None:
    """NumPy turns a list of integers of which one has 64 bits into doubles; this address has such a key."""
    assert max(WORDS) >= 2**63 > min(WORDS)
    assert generator(*ADDRESS).bit_generator.state["state"]["key"].tolist() == WORDS


def test_samples_do_not_depend_on_order_batch_or_neighbours() -> None:
    ids = np.arange(100)
    whole = np.array([stream.normal(size=5) for stream in sample_generators(ids, *ADDRESS)])
    shuffled = np.random.default_rng(0).permutation(ids)
    for batch in np.array_split(shuffled, 7):
        part = np.array([stream.normal(size=5) for stream in sample_generators(batch, *ADDRESS)])
        np.testing.assert_array_equal(part, whole[batch])


def test_streams_of_one_address_do_not_overlap() -> None:
    """Each is a run of counters; runs of 2**128 blocks that differ in a higher word cannot meet."""
    streams = [generator(*ADDRESS), *sample_generators(np.arange(50), *ADDRESS)]
    starts = {tuple(int(word) for word in stream.bit_generator.state["state"]["counter"]) for stream in streams}
    assert starts == {(0, 0, 0, 0), *((0, 0, sample_id, 1) for sample_id in range(50))}
    words = [word for stream in streams for word in raw(stream, 40)]
    assert len(set(words)) == len(words)


ADDRESSES = [
    (7, 1, "generate"),
    (7, 1, "train"),
    (7, 2, "generate"),
    (8, 1, "generate"),
    (71, "generate"),
    (7, "1", "generate"),
]


def test_addresses_have_different_streams() -> None:
    assert len({torch_seed(*address) for address in ADDRESSES}) == len(ADDRESSES)
    assert len({tuple(raw(generator(*address), 2)) for address in ADDRESSES}) == len(ADDRESSES)


def test_first_draws_across_samples_are_uniform_and_uncorrelated() -> None:
    """The draws that neighbours in the counter make first; p-values of a fixed seed."""
    draws = np.array([stream.random(2) for stream in sample_generators(np.arange(5000), *ADDRESS)])
    assert stats.kstest(draws[:, 0], "uniform").pvalue > 0.001
    assert stats.kstest(draws.sum(axis=1) / 2, stats.triang(c=0.5).cdf).pvalue > 0.001
    assert abs(np.corrcoef(draws[:-1, 0], draws[1:, 0])[0, 1]) < 4 / np.sqrt(5000)


@pytest.mark.parametrize("sample_id", [-1, 2**64])
def test_ids_outside_64_bits_are_refused(sample_id: int) -> None:
    with pytest.raises((OverflowError, ValueError)):
        sample_generators(np.array([sample_id], dtype=object), *ADDRESS)


def test_addresses_without_a_stable_form_are_refused() -> None:
    with pytest.raises(TypeError):
        generator(np.int64(7))  # type: ignore[arg-type] - what is under test
