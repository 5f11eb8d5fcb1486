"""Recall, precision and AUC are those of scikit-learn, and of plain definitions."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_score, recall_score, roc_auc_score

from hmhsa_insert.class_scores import auc, class_tables, confusion_of, precision, recall


@pytest.mark.parametrize("classes", [2, 5])
def test_shares_are_those_of_sklearn(classes):
    random = np.random.default_rng(classes)
    targets, predicted = (random.integers(0, classes, 200) for _ in range(2))
    counts = confusion_of(targets, predicted, classes)
    assert counts.tolist() == confusion_matrix(targets, predicted).tolist()
    assert recall(counts) / 100 == pytest.approx(recall_score(targets, predicted, average=None))
    assert precision(counts) / 100 == pytest.approx(precision_score(targets, predicted, average=None))


@pytest.mark.parametrize("digits", [0, 1, 6])
def test_auc_is_that_of_sklearn_and_of_all_pairs(digits):
    random = np.random.default_rng(digits)
    targets = random.integers(0, 2, 80)
    margins = np.round(random.normal(targets * 0.7, 1.0), digits)  # with ties, where there are few digits
    pairs = [(a > b) + 0.5 * (a == b) for a in margins[targets == 1] for b in margins[targets == 0]]
    assert auc(targets, margins) == pytest.approx(np.mean(pairs))
    assert auc(targets, margins) == pytest.approx(roc_auc_score(targets, margins))
    assert auc(targets, -margins) == pytest.approx(1 - np.mean(pairs))


def test_there_is_no_auc_of_one_class():
    assert auc(np.zeros(3, dtype=np.int64), np.ones(3)) is None
    assert auc(np.array([0, 1, 1]), np.array([0.0, np.nan, 1.0])) is None


def test_the_lowest_recall_comes_first_and_blanks_are_blank():
    counts = confusion_of(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1]), 3)
    assert np.isnan(recall(counts)[2])
    assert np.isnan(precision(counts)[2])
    shares = {"a": (50.0, 100.0), "b": (100.0, 66.7), "c": (None, None)}
    first, matrix = class_tables(shares, counts, folded=True)
    assert [[cell.text for cell in row.cells] for row in first.rows] == [
        ["a", "50.0", "100.0"],
        ["b", "100.0", "66.7"],
    ]
    assert [cell.text for cell in matrix.rows[0].cells] == ["a", "1", "1", "0"]
    assert first.folded
    assert matrix.folded


def test_a_matrix_that_does_not_fit_is_the_pairs_confused_most():
    names = [f"a class with a long name {place}" for place in range(4)]
    counts = np.array([[5, 0, 0, 0], [3, 5, 0, 0], [0, 7, 5, 0], [0, 0, 0, 5]])
    _, pairs = class_tables(dict.fromkeys(names, (50.0, 50.0)), counts)
    assert [[cell.text for cell in row.cells] for row in pairs.rows] == [
        [names[2], names[1], "7"],
        [names[1], names[0], "3"],
    ]


@pytest.mark.parametrize("classes", [("no", "yes"), ("a", "b", "c")])
def test_an_evaluation_of_two_classes_has_an_auc(classes, tmp_path):
    import torch
    from accelerate import Accelerator

    from hmhsa_insert.training.evaluation import evaluate_split
    from hmhsa_insert.training.loader import Batch
    from hmhsa_insert.training.run_tables import read_predictions

    images = torch.randn(12, len(classes), generator=torch.Generator().manual_seed(0))
    targets = torch.arange(12) % 2
    batch = Batch(
        images=images, targets=targets, indices=torch.arange(12), damaged=torch.zeros(12, dtype=torch.bool)
    )
    found = evaluate_split(torch.nn.Identity(), [batch], classes, Accelerator(cpu=True))
    found.write_predictions(tmp_path, type("Split", (), {"name": staticmethod(str)})())
    written = read_predictions(tmp_path)
    if len(classes) == 3:
        assert found.auc is None
        assert "margin" not in written
        return
    margins = (images[:, 1] - images[:, 0]).numpy()
    assert written["margin"].to_numpy() == pytest.approx(margins)
    assert found.auc == pytest.approx(roc_auc_score(targets.numpy(), margins))
