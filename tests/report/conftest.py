import numpy as np
import pytest

from foveola.metrics import RetrievalData, evaluate_retrieval


@pytest.fixture(scope="session")
def evaluation():
    """60 images of 30 people, grades 0, 1 and 4; grade 4 is one person's."""
    generator = np.random.default_rng(0)
    grades = np.array([0, 1] * 29 + [4, 4])
    rows = generator.normal(size=(60, 8)) + 2 * np.eye(8)[grades]
    return evaluate_retrieval(RetrievalData(rows, grades, [i // 2 for i in range(60)], label="grade"), bootstrap=100)
