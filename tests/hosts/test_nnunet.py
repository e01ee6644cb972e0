"""nnU-Net: the trainer of docs/hosts.md as it is printed there, in training and by its numbers."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from documents import ROOT, blocks
from refocal import SigmoidFocalLoss, SoftmaxFocalLoss, softmax_focal_loss

if not importlib.util.find_spec("nnunetv2"):
    pytest.skip("nnunetv2 is not installed", allow_module_level=True)

pytestmark = pytest.mark.filterwarnings("ignore")  # of its own, on what it depends on

IGNORED = 3


def recipe():
    """The block of the page."""
    page = (ROOT / "docs" / "hosts.md").read_text(encoding="utf-8")
    (found,) = [one.code for one in blocks(page) if "class nnUNetTrainerFocal" in one.code]
    return found


@pytest.fixture(scope="module")
def names():
    """What the block defines."""
    found = {"__name__": "recipe"}
    exec(compile(recipe(), "docs/hosts.md", "exec"), found)
    return found


def outputs(classes):
    """Logits at two resolutions and their targets, which nnU-Net has as floats in one channel."""
    generator = torch.Generator().manual_seed(0)
    maps, masks = [], []
    for size in (8, 4):
        maps.append(torch.randn(2, 3, size, size, size, generator=generator, requires_grad=True))
        masks.append(
            torch.randint(0, classes, (2, 1, size, size, size), generator=generator).float()
        )
    return maps, masks


def trainer_of(names, ignored, *, deep, regions=False):
    """One that has what the making of a loss looks at, without plans and data."""
    made = object.__new__(names["nnUNetTrainerFocal"])
    made.label_manager = SimpleNamespace(has_regions=regions, ignore_label=ignored)
    made.configuration_manager = SimpleNamespace(
        batch_dice=False, pool_op_kernel_sizes=[[1, 1, 1], [2, 2, 2], [2, 2, 2], [2, 2, 2]]
    )
    made.is_ddp, made.enable_deep_supervision, made.device = False, deep, torch.device("cpu")
    return made


def unwrapped(loss):
    """Dice and cross-entropy without the deep supervision around them."""
    return getattr(loss, "loss", loss)


@pytest.mark.parametrize("deep", [True, False], ids=["deep supervision", "one output"])
@pytest.mark.parametrize("ignored", [None, IGNORED], ids=["all labelled", "ignored label"])
def test_focal_stands_in_the_place_of_cross_entropy(names, ignored, deep):
    maps, masks = outputs(3 if ignored is None else 4)
    made = trainer_of(names, ignored, deep=deep)
    ours, theirs = made._build_loss(), super(type(made), made)._build_loss()
    pairs = list(zip(maps, masks, strict=True))[: 2 if deep else 1]
    shares = (2 / 3, 1 / 3) if deep else (1.0,)
    if deep:  # the coarsest of three weighs nothing
        assert ours.weight_factors == pytest.approx((*shares, 0))

    def with_gradients(loss):
        value = loss(*map(list, zip(*pairs, strict=True))) if deep else loss(*pairs[0])
        return value, *torch.autograd.grad(value, [logits for logits, _ in pairs])

    focal = unwrapped(ours).ce
    assert isinstance(focal, SoftmaxFocalLoss)
    unwrapped(ours).ce = type(focal)(gamma=0, ignore_index=focal.ignore_index)
    assert_close(with_gradients(ours), with_gradients(theirs))  # gamma 0 is cross-entropy

    unwrapped(ours).ce = focal
    dice = unwrapped(theirs)
    dice.weight_ce = 0
    index = -100 if ignored is None else ignored

    def by_hand(*_):
        return sum(
            share * (dice(z, y) + softmax_focal_loss(z, y[:, 0].long(), ignore_index=index))
            for share, (z, y) in zip(shares, pairs, strict=True)
        )

    assert_close(with_gradients(ours), with_gradients(by_hand))


@pytest.mark.parametrize("ignored", [None, IGNORED], ids=["all labelled", "ignored label"])
def test_regions_take_a_sigmoid(names, ignored):
    """As the page says beneath the block, where labels of a voxel are several."""
    made = trainer_of(names, ignored, deep=False, regions=True)
    theirs = super(type(made), made)._build_loss()
    logits = torch.randn(2, 3, 4, 4, 4)
    # with an ignored label one more channel says where it is
    regions = (torch.rand(2, 3 if ignored is None else 4, 4, 4, 4) < 0.4).float()
    expected = theirs(logits, regions)
    reduction = "mean" if ignored is None else "none"
    theirs.ce = SigmoidFocalLoss(alpha=None, gamma=0, reduction=reduction)
    assert_close(theirs(logits, regions), expected)
    theirs.ce = SigmoidFocalLoss(reduction=reduction)
    assert theirs(logits, regions) < expected


SHORT = """
import torch
from focal import nnUNetTrainerFocal


class nnUNetTrainerFocalShort(nnUNetTrainerFocal):
    def __init__(self, plans, configuration, fold, dataset_json, device=torch.device("cuda")):
        super().__init__(plans, configuration, fold, dataset_json, device)
        self.num_epochs, self.num_iterations_per_epoch, self.num_val_iterations_per_epoch = 2, 6, 1
"""


def data_set(folder):
    """Noisy pictures of a square, with a border that nobody labelled."""
    from skimage.io import imsave

    for part in ("imagesTr", "labelsTr"):
        (folder / part).mkdir(parents=True)
    for k in range(5):
        mask = np.zeros((32, 32), np.uint8)
        mask[8 + k : 24, 8:24] = 1
        noise = np.random.default_rng(k).integers(0, 80, mask.shape)
        mask[:, :3] = 2
        imsave(folder / "imagesTr" / f"{k}_0000.png", (noise + 150 * (mask == 1)).astype(np.uint8))
        imsave(folder / "labelsTr" / f"{k}.png", mask, check_contrast=False)
    description = {
        "channel_names": {"0": "grey"},
        "labels": {"background": 0, "square": 1, "ignore": 2},
        "numTraining": 5,
        "file_ending": ".png",
    }
    (folder / "dataset.json").write_text(json.dumps(description))


def test_what_is_trained(tmp_path):
    """Planned, trained for two short epochs and validated by nnU-Net's own commands."""
    data_set(tmp_path / "raw" / "Dataset004_Square")
    (tmp_path / "trainers").mkdir()
    (tmp_path / "trainers" / "focal.py").write_text(recipe())
    (tmp_path / "trainers" / "short.py").write_text(SHORT)
    environment = os.environ | {
        **{f"nnUNet_{part}": str(tmp_path / part) for part in ("raw", "preprocessed", "results")},
        "nnUNet_extTrainer": str(tmp_path / "trainers"),
        "PYTHONPATH": os.pathsep.join(one for one in sys.path if one),
        "REFOCAL_QUIET": "1",
    }

    def call(module, function, *arguments):
        code = f"import sys; sys.argv[0] = 'nnU-Net'; from {module} import {function} as f; f()"
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    planning = "nnunetv2.experiment_planning.plan_and_preprocess_entrypoints"
    processes = ("-npfp", "1", "-np", "1")
    call(planning, "plan_and_preprocess_entry", "-d", "4", "-c", "2d", *processes)
    environment["nnUNet_n_proc_DA"] = "0"  # no process for the batches
    chosen = ("4", "2d", "0", "-tr", "nnUNetTrainerFocalShort", "-device", "cpu")
    said = call("nnunetv2.run.run_training", "run_training_entry", *chosen)
    losses = [float(one) for one in re.findall(r"train_loss (\S+)", said)]
    assert len(losses) == 2
    assert losses[1] < losses[0]
    assert "Validation complete" in said
    (checkpoint,) = tmp_path.glob("results/*/nnUNetTrainerFocalShort*/fold_0/checkpoint_final.pth")
    assert checkpoint.stat().st_size > 0
