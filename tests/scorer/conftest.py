"""What the tests of the scorer share."""

from pathlib import Path

import pytest
from scorer.kenlm import built_kenlm

GOLDEN = Path(__file__).with_name("golden")


@pytest.fixture(scope="session")
def kenlm_bins(request) -> Path:
    return built_kenlm(Path(request.config.cache.mkdir("kenlm")))


@pytest.fixture
def golden() -> Path:
    """text.txt, made up for these tests, and ARPA files that lmplz 0.3.0 makes of it; gaps.arpa lacks some n-grams."""
    return GOLDEN
