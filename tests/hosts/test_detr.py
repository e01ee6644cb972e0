"""The DETR family of transformers: our losses in the place of its criteria's, same numbers."""

from types import SimpleNamespace

import pytest
import torch
from torch.testing import assert_close

from refocal import sigmoid_focal_loss
from refocal.variants import varifocal_loss

deformable = pytest.importorskip(
    "transformers.loss.loss_deformable_detr", reason="pip install transformers"
)
rt_detr = pytest.importorskip("transformers.loss.loss_rt_detr", reason="pip install transformers")

IMAGES, QUERIES, CLASSES, BOXES = 2, 7, 3, 3
# of each image, which query is matched with which of its boxes
MATCHES = [
    (torch.tensor([1, 4]), torch.tensor([0, 1])),
    (torch.tensor([5]), torch.tensor([0])),
]
TARGETS = [
    {"class_labels": torch.tensor([2, 0]), "boxes": torch.rand(2, 4) * 0.3 + 0.3},
    {"class_labels": torch.tensor([1]), "boxes": torch.rand(1, 4) * 0.3 + 0.3},
]


@pytest.fixture
def outputs():
    logits = torch.randn(IMAGES, QUERIES, CLASSES, requires_grad=True)
    return {"logits": logits, "pred_boxes": torch.rand(IMAGES, QUERIES, 4) * 0.3 + 0.3}


def matched():
    """One-hot targets (B, Q, C), and which query of which image is matched."""
    positives = torch.zeros(IMAGES, QUERIES, CLASSES)
    for image, (queries, boxes) in enumerate(MATCHES):
        positives[image, queries, TARGETS[image]["class_labels"][boxes]] = 1
    return positives


def criterion():
    return deformable.DeformableDetrImageLoss(
        matcher=None, num_classes=CLASSES, focal_alpha=0.25, losses=["labels"]
    )


def assert_same(got, expected, logits):
    assert_close(got, expected)
    (ours,) = torch.autograd.grad(got, logits, retain_graph=True)
    (theirs,) = torch.autograd.grad(expected, logits)
    assert_close(ours, theirs, rtol=1e-5, atol=1e-7)


def test_loss_ce_is_theirs_over_the_boxes(outputs):
    expected = criterion().loss_labels(outputs, TARGETS, MATCHES, BOXES)["loss_ce"]
    got = sigmoid_focal_loss(outputs["logits"], matched(), normalizer=BOXES)
    assert_same(got, expected, outputs["logits"])
    # num_boxes is a tensor where it was averaged over processes
    again = sigmoid_focal_loss(outputs["logits"], matched(), normalizer=torch.tensor(float(BOXES)))
    assert_close(again, got)


@pytest.mark.parametrize("alpha", [0.25, torch.tensor([0.1, 0.5, 0.9])], ids=["number", "tensor"])
def test_ours_in_their_criterion(alpha, outputs, monkeypatch):
    """The recipe of docs/hosts.md: alpha of every class along the last axis."""
    weights = alpha if isinstance(alpha, float) else alpha.view(1, 1, -1)

    def focal(logits, targets, num_boxes, alpha, gamma):
        # they multiply by the number of queries afterwards
        return sigmoid_focal_loss(
            logits, targets, alpha=weights, normalizer=num_boxes * logits.shape[1]
        )

    theirs = criterion().loss_labels(outputs, TARGETS, MATCHES, BOXES)["loss_ce"]
    monkeypatch.setattr(deformable, "sigmoid_focal_loss", focal)
    got = criterion().loss_labels(outputs, TARGETS, MATCHES, BOXES)["loss_ce"]
    by_class = sum(
        sigmoid_focal_loss(
            outputs["logits"][..., c],
            matched()[..., c],
            alpha=alpha if isinstance(alpha, float) else alpha[c].item(),
            normalizer=BOXES,
        )
        for c in range(CLASSES)
    )
    assert_same(got, by_class, outputs["logits"])
    if isinstance(alpha, float):
        assert_close(got, theirs)


def test_a_class_weight_without_its_axes_is_refused(outputs):
    with pytest.raises(ValueError, match=r"alpha must .*\(7,\).*got .*\(3,\)"):
        sigmoid_focal_loss(outputs["logits"], matched(), alpha=torch.rand(CLASSES))


def test_num_boxes_is_one_graph(outputs):
    torch._dynamo.reset()
    counts = []

    def backend(graph, inputs):
        counts.append(1)
        return graph

    loss = torch.compile(
        lambda z, y, n: sigmoid_focal_loss(z, y, normalizer=n), backend=backend, fullgraph=True
    )
    for boxes in (3.0, 5.0, 8.0):
        got = loss(outputs["logits"], matched(), torch.tensor(boxes))
        assert_close(got, sigmoid_focal_loss(outputs["logits"], matched(), normalizer=boxes))
    assert len(counts) == 1


def test_varifocal_of_rt_detr(outputs):
    config = SimpleNamespace(
        matcher_class_cost=2.0,
        matcher_bbox_cost=5.0,
        matcher_giou_cost=2.0,
        use_focal_loss=True,
        matcher_alpha=0.25,
        matcher_gamma=2.0,
        num_labels=CLASSES,
        weight_loss_vfl=1.0,
        weight_loss_bbox=5.0,
        weight_loss_giou=2.0,
        eos_coefficient=1e-4,
        focal_loss_alpha=0.75,
        focal_loss_gamma=2.0,
    )
    criterion = rt_detr.RTDetrLoss(config)
    expected = criterion.loss_labels_vfl(outputs, TARGETS, MATCHES, BOXES)["loss_vfl"]
    positives = matched()
    overlaps = torch.zeros(IMAGES, QUERIES)
    for image, (queries, boxes) in enumerate(MATCHES):
        for query, box in zip(queries, boxes, strict=True):
            a, b = outputs["pred_boxes"][image, query], TARGETS[image]["boxes"][box]
            overlaps[image, query] = overlap(a, b)
    got = varifocal_loss(
        outputs["logits"],
        overlaps[..., None] * positives,
        positives=positives == 1,
        detach_modulator=True,
        normalizer=BOXES,
    )
    assert_same(got, expected, outputs["logits"])


def overlap(a, b):
    """Intersection over union of two boxes (centre, size)."""
    low = torch.maximum(a[:2] - a[2:] / 2, b[:2] - b[2:] / 2)
    high = torch.minimum(a[:2] + a[2:] / 2, b[:2] + b[2:] / 2)
    inner = (high - low).clamp(min=0).prod()
    return inner / (a[2:].prod() + b[2:].prod() - inner)
