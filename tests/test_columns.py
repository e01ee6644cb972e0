"""The softmax kernel over vectors of positions, and the count before it, at the edges of both."""

from itertools import product

import pytest
import torch
from torch.testing import assert_close

from refocal import softmax_focal_loss

pytest.importorskip("numba")

EXACTLY = {"rtol": 0, "atol": 0}
IGNORED = 255


def image(
    sizes: tuple[int, ...], dtype: torch.dtype = torch.float32
) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits and labels of which some are ignored, their logits anything."""
    generator = torch.Generator().manual_seed(sum(sizes))
    logits = torch.randn(sizes, generator=generator) * 4
    labels = torch.randint(0, sizes[1], (sizes[0], *sizes[2:]), generator=generator)
    left_out = torch.rand(labels.shape, generator=generator) < 0.2
    labels[left_out] = IGNORED
    logits.movedim(1, -1)[left_out] = torch.nan
    return logits.to(dtype), labels


def both(logits, labels, **keywords):
    leaf = logits.clone().requires_grad_()
    losses = softmax_focal_loss(
        leaf, labels, ignore_index=IGNORED, reduction="none", impl="cpu", **keywords
    )
    return losses.detach(), torch.autograd.grad(losses.sum(), leaf)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("size", [16, 17, 31, 48, 511, 513, 1025])
def test_a_position_has_the_same_bits_wherever_it_lies_in_a_vector(dtype, size):
    """The last vector of an image may reach beyond it, and its neighbours may be anything."""
    logits, labels = image((2, 5, size), dtype)
    losses, gradient = both(logits, labels)
    padded = torch.full((2, 5, 2048), torch.nan, dtype=dtype)
    padded[..., :size] = logits
    others = torch.full((2, 2048), IGNORED)
    others[:, :size] = labels
    alone, alone_gradient = both(padded, others)
    assert_close(losses, alone[:, :size], **EXACTLY)
    assert_close(gradient, alone_gradient[..., :size], **EXACTLY)
    assert not alone[:, size:].any()
    assert not alone_gradient[..., size:].any()
    assert not gradient.movedim(1, -1)[labels == IGNORED].any()


@pytest.mark.parametrize("size", [7, 16, 40])
def test_weights_and_gammas_of_positions_reach_their_own(size):
    """They are read by vectors, too, behind the last position as well."""
    logits, labels = image((3, 4, size))
    weight, gamma = torch.rand(3, size), 3 * torch.rand(3, size)
    losses, gradient = both(logits, labels, sample_weight=weight, gamma=gamma)
    for row in range(3):
        for i in range(size):
            one = (slice(row, row + 1), slice(i, i + 1))
            found = both(
                logits[row, None, :, i],
                labels[one].flatten(),
                sample_weight=weight[one].flatten(),
                gamma=gamma[one].flatten(),
            )
            assert_close(losses[one].flatten(), found[0], **EXACTLY)
            assert_close(gradient[row, None, :, i], found[1], **EXACTLY)


NEGATIVE_NAN = torch.tensor(-(2**22), dtype=torch.int32).view(torch.float32).item()
SPECIAL = [-torch.inf, -2.0, 0.0, 1.0, torch.inf, torch.nan]


def special_rows(classes: int) -> torch.Tensor:
    """Every three of the special values, and beside them rivals that are far below."""
    rows = torch.tensor(list(product(SPECIAL, repeat=3)))
    more = rows.isnan()
    negative = torch.where(more, torch.tensor(NEGATIVE_NAN), rows)
    rows = torch.cat([rows, negative[more.any(1)]])
    return torch.cat([rows, torch.full((len(rows), classes - 3), -5.0)], 1)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("classes", [3, 100])
@pytest.mark.parametrize("adjacent", [False, True])
@pytest.mark.parametrize(
    "keywords",
    [{}, {"gamma": 0.5}, {"gamma": 0.0}, {"label_smoothing": 0.1}, {"detach_modulator": True}],
    ids=str,
)
def test_infinities_and_nan_are_what_plain_operations_say(dtype, classes, adjacent, keywords):
    """No comparison sees a NaN, and its bits look like a number's to a logarithm of bits."""
    logits = special_rows(classes).to(dtype)
    ties = (logits == torch.inf).sum(1) > 1  # inf - inf: no answer where the true class is one
    for label in range(3):
        found = []
        for impl in ("eager", "cpu"):
            leaf, targets = logits, torch.full((len(logits),), label)
            if adjacent:
                leaf, targets = leaf.T.contiguous()[None], targets[None]
            leaf = leaf.clone().requires_grad_()
            losses = softmax_focal_loss(leaf, targets, reduction="none", impl=impl, **keywords)
            gradient = torch.autograd.grad(losses.sum(), leaf)[0]
            found.append((losses.detach().flatten(), gradient[0].T if adjacent else gradient))
        (plain, plain_gradient), (losses, gradient) = found
        assert_close(losses, plain, equal_nan=True)
        answered = ~(ties & plain.isnan())
        assert_close(gradient[answered], plain_gradient[answered], equal_nan=True)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64])
@pytest.mark.parametrize("strided", [False, True])
def test_many_labels_are_counted_as_few_are(dtype, strided):
    """Beyond 32,768 by a kernel."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (2, 200, 200), generator=generator)
    labels[torch.rand(labels.shape, generator=generator) < 0.3] = IGNORED
    labels = labels.to(dtype)
    labels = labels.transpose(1, 2) if strided else labels
    logits = torch.randn(2, 3, 200, 200, generator=generator)
    mean, total = (
        softmax_focal_loss(logits, labels, ignore_index=IGNORED, reduction=reduction)
        for reduction in ("mean", "sum")
    )
    assert_close(mean * (labels != IGNORED).sum(), total)


def test_a_mean_over_many_labels_that_are_all_ignored_is_zero():
    logits = torch.randn(1, 3, 200, 200, requires_grad=True)
    loss = softmax_focal_loss(logits, torch.full((1, 200, 200), IGNORED), ignore_index=IGNORED)
    loss.backward()
    assert loss.item() == 0
    assert not logits.grad.any()
