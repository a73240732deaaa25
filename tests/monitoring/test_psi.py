import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2

from churn_assets.monitoring.psi import MAX_LEVELS, describe_numbers, describe_texts, noise, psi

COUNTS = st.lists(st.integers(0, 500), min_size=1, max_size=12).filter(any)
PAIRS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 500), min_size=n, max_size=n).filter(any)] * 2)
)
NUMBERS = st.lists(st.one_of(st.none(), st.integers(-200, 200).map(float)), min_size=1, max_size=80)
WILD = st.lists(st.one_of(st.none(), st.sampled_from([math.inf, -math.inf]), st.floats(-1e300, 1e300)), min_size=1)
TEXTS = st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "c", "d", ""])), min_size=1, max_size=60)


def numbers(values):
    return pa.chunked_array([pa.array(values, pa.float64())])


def texts(values):
    return pa.chunked_array([pa.array(values, pa.string())])


def between(describe, reference, current):
    then = describe("x", reference)
    return psi(np.array(then.counts), then.count(current))


@given(COUNTS)
def test_nothing_has_moved_from_itself(counts):
    assert psi(np.array(counts), np.array(counts)) == 0.0
    assert psi(np.array(counts), 7 * np.array(counts)) == pytest.approx(0.0, abs=1e-12)


@given(PAIRS)
def test_never_negative_never_infinite_and_the_same_both_ways(pair):
    then, now = map(np.array, pair)
    found = psi(then, now)
    assert 0.0 <= found < math.inf
    assert found == pytest.approx(psi(now, then))


@given(WILD, WILD)
def test_wild_numbers_have_an_index(reference, current):
    assert 0.0 <= between(describe_numbers, numbers(reference), numbers(current)) < math.inf
    assert between(describe_numbers, numbers(reference), numbers(reference)) == 0.0


@given(TEXTS, TEXTS)
def test_texts_have_an_index(reference, current):
    assert 0.0 <= between(describe_texts, texts(reference), texts(current)) < math.inf
    assert between(describe_texts, texts(reference), texts(reference)) == 0.0


@given(NUMBERS, NUMBERS, st.randoms(use_true_random=False))
def test_order_of_rows_does_not_matter(reference, current, random):
    before = between(describe_numbers, numbers(reference), numbers(current))
    random.shuffle(reference)
    random.shuffle(current)
    assert between(describe_numbers, numbers(reference), numbers(current)) == before


@given(NUMBERS, NUMBERS, st.sampled_from([lambda x: x**3, lambda x: 2 * x + 3, lambda x: math.exp(x / 50)]))
def test_stretching_the_scale_does_not_matter(reference, current, stretch):
    def stretched(values):
        return numbers([None if value is None else stretch(value) for value in values])

    plain = between(describe_numbers, numbers(reference), numbers(current))
    assert between(describe_numbers, stretched(reference), stretched(current)) == plain


@given(NUMBERS)
def test_every_row_is_counted_once(values):
    then = describe_numbers("x", numbers(values))
    assert then.rows == len(values)
    assert len(then.counts) == len(then.labels()) == len(then.edges) + 3
    assert then.counts[0] == then.counts[-2] == 0
    assert then.counts[-1] == values.count(None)
    assert list(then.edges) == sorted(set(then.edges))


def test_is_the_textbook_formula_for_full_bins():
    then, now = np.array([1000, 2000, 3000, 4000]), np.array([4000, 3000, 2000, 1000])
    p, q = then / then.sum(), now / now.sum()
    assert psi(then, now) == pytest.approx(np.sum((q - p) * np.log(q / p)), rel=1e-3)


def test_an_empty_sample_is_refused():
    with pytest.raises(ValueError, match="empty sample"):
        psi(np.array([1, 2]), np.array([0, 0]))


def test_bins_are_deciles_of_the_reference():
    then = describe_numbers("x", numbers(np.random.default_rng(0).permutation(np.arange(1000.0))))
    assert then.counts == (0, *[100] * 10, 0, 0)
    assert then.typical == 499.5


def test_frequent_values_have_bins_of_their_own():
    counts = np.random.default_rng(0).permutation(np.r_[np.zeros(600), np.full(150, 50.0), np.linspace(1, 99, 250)])
    then = describe_numbers("x", numbers(counts))
    by_label = dict(zip(then.labels(), then.counts, strict=True))
    assert by_label["0"] == 600
    place = then.edges.index(50.0)
    assert then.counts[place + 1] == 150
    rare_flag = describe_numbers("x", numbers([1.0] * 97 + [0.0] * 3))
    assert rare_flag.counts == (0, 3, 97, 0, 0)


def test_beyond_the_range_missing_and_infinite_have_bins_of_their_own():
    then = describe_numbers("x", numbers([1.0, 2.0, 3.0, 4.0]))
    found = then.count(numbers([0.5, -math.inf, 1.0, 2.5, 4.0, 4.5, math.inf, None, None, math.nan]))
    assert found.tolist() == [2, 1, 0, 1, 1, 2, 3]
    assert then.outside(found) == 4


def test_unseen_and_missing_levels_have_bins_of_their_own():
    then = describe_texts("plan", texts(["free", "free", "pro", None]))
    assert then.levels == ("free", "pro")
    assert then.typical == "free"
    found = then.count(texts(["gold", "pro", None, None]).dictionary_encode())
    assert found.tolist() == [0, 1, 1, 2]
    assert then.outside(found) == 1
    assert then.labels() == ["free", "pro", "other", "missing"]


def test_rare_levels_of_a_large_category_share_a_bin():
    then = describe_texts("city", texts([f"city{n:03d}" for n in range(200) for _ in range(200 - n)]))
    assert len(then.levels) == MAX_LEVELS
    assert then.counts[-2] == sum(range(1, 151))


@pytest.mark.parametrize("values", [[None, None], [math.inf, None]])
def test_a_reference_without_numbers_counts_all_others_as_outside(values):
    then = describe_numbers("x", numbers(values))
    assert then.typical is None
    found = then.count(numbers([1.0, None]))
    assert then.outside(found) == 1
    assert found[-1] == 1


@pytest.mark.parametrize("bins", range(2, 60))
def test_noise_is_the_chi_squared_law(bins):
    found = noise(bins, 1000, 500)
    assert found.expected == pytest.approx((bins - 1) * 0.003)
    assert found.limit == pytest.approx(chi2.ppf(0.999, bins - 1) * 0.003, rel=0.031)


def test_noise_of_one_bin_is_nothing():
    assert noise(1, 10, 10).limit == 0.0


@pytest.mark.parametrize(("then_size", "now_size"), [(4000, 4000), (4000, 400), (200, 200)])
def test_samples_of_one_population_stay_in_the_noise(then_size, now_size):
    rng = np.random.default_rng(0)
    shares = np.full(10, 0.1)
    pairs = zip(rng.multinomial(then_size, shares, 2000), rng.multinomial(now_size, shares, 2000), strict=True)
    found = np.array([psi(then, now) for then, now in pairs])
    expected = noise(10, then_size, now_size)
    assert found.mean() == pytest.approx(expected.expected, rel=0.1)
    assert (found > expected.limit).mean() < 0.003


def test_sizes_alone_move_nothing():
    rng = np.random.default_rng(1)
    shares = np.r_[np.full(10, 0.0999), np.full(5, 0.0002)]
    found = [psi(rng.multinomial(200_000, shares), rng.multinomial(100, shares)) for _ in range(300)]
    assert np.mean(found) < noise(15, 200_000, 100).expected
