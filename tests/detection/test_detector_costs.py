from __future__ import annotations

import pytest
from scenes import RECIPE, small_detector

import hmhsa_insert as hi
from hmhsa_insert.costs.count import count
from hmhsa_insert.detection.costs import count_detector, profile_detectors
from hmhsa_insert.reports.parts import parts_frame

SIZE = (90, 128)  # padded to 96×128
LEVELS = [12 * 16, 6 * 8, 3 * 4, 2 * 2, 1]
K, A = 4, 9


def rows_of(detector) -> dict[str, dict[str, int]]:
    (record,) = profile_detectors({"it": detector}, SIZE)
    frame = parts_frame([record.as_dict()])
    for column in ("num_params", "macs", "macs_modules_only", "activations"):
        assert frame[column].sum() == getattr(record, column)
    assert record.num_params == sum(p.numel() for p in detector.parameters())
    assert record.crosscheck.difference == 0
    return {row["part"]: row for row in frame.to_dict("records")}


def test_the_rows_of_retinanet_are_what_its_layers_cost() -> None:
    detector = small_detector("retinanet", "resnet18", K)
    rows = rows_of(detector)
    assert list(rows) == [*(f"backbone stage {k}" for k in range(5)), "FPN", "RetinaNet head"]
    convolution = 256 * 256 * 9
    head = 8 * convolution + 256 * 9 * A * (K + 4)
    assert rows["RetinaNet head"]["macs"] == sum(LEVELS) * head
    lateral = sum(n * c * 256 for n, c in zip(LEVELS, (128, 256, 512), strict=False))
    pyramid = lateral + sum(LEVELS[:3]) * convolution + LEVELS[3] * 512 * 256 * 9 + LEVELS[4] * convolution
    assert rows["FPN"]["macs"] == pyramid
    # The backbone costs what the network does, without its classifier.
    network = count(hi.load_model("resnet18").model, (3, 96, 128))
    backbone = sum(row["macs"] for part, row in rows.items() if part.startswith("backbone"))
    assert backbone == network.macs - 512 * 1000


def test_heads_of_regions_are_counted_at_a_stated_number_of_them() -> None:
    edited = hi.apply(hi.load_model("resnet18", meta=True).model, RECIPE, (3, 96, 128))
    options = {"rpn_post_nms_top_n_test": 50, "box_detections_per_img": 7}
    detector = small_detector("maskrcnn", edited, K, **options)
    rows = rows_of(detector)
    assert rows["box head"]["macs"] == 50 * (256 * 49 * 1024 + 1024 * 1024 + 1024 * 5 * K)
    mask = 4 * 256 * 256 * 9 * 196 + 256 * 256 * 784 + 256 * K * 784
    assert rows["mask head"]["macs"] == 7 * mask
    inserted = rows["layer3.1.hmhsa"]
    assert inserted["num_params"] == sum(p.numel() for p in edited.layer3[1].hmhsa.parameters())
    (record,) = profile_detectors({"it": detector}, SIZE)
    assert "boxes of 50 proposals an image, masks of 7" in record.conventions[0]
    assert count_detector(detector, SIZE).macs == record.macs


def test_a_size_that_cannot_be_is_said() -> None:
    # InceptionV3 pads nothing: its last stages have no cell left.
    detector = hi.detector(
        "retinanet", hi.load_model("inception_v3", meta=True).model, 3, input_size=(3, 299, 299)
    )
    with pytest.raises(hi.ModelError, match="cannot run on an input of 3×32×32"):
        count_detector(detector, (32, 32))
