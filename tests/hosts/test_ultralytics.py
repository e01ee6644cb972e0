"""Ultralytics: which criterion is trained, and that it is ours."""

import copy

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from refocal import SigmoidFocalLoss
from refocal.integrations.ultralytics import use_focal_loss

CLASSES = 2

pytestmark = pytest.mark.filterwarnings("ignore")  # of its own, on what it depends on


@pytest.fixture
def ultralytics(tmp_path, monkeypatch):
    monkeypatch.setenv("YOLO_CONFIG_DIR", str(tmp_path))
    monkeypatch.setenv("YOLO_OFFLINE", "true")
    monkeypatch.chdir(tmp_path)
    printed = np.get_printoptions()
    pytest.importorskip("ultralytics.nn.tasks", reason="pip install ultralytics")
    yield pytest.importorskip("ultralytics")
    # its import changes how everybody's arrays are printed
    np.set_printoptions(**printed)
    torch.set_printoptions(profile="default")


def network(ultralytics, name):
    made = ultralytics.nn.tasks.DetectionModel(name, nc=CLASSES, verbose=False)
    made.args = ultralytics.utils.DEFAULT_CFG
    return made.train()


def batch():
    return {
        "img": torch.rand(2, 3, 64, 64),
        "batch_idx": torch.tensor([0.0, 0.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0], [1.0]]),
        "bboxes": torch.tensor([[0.5, 0.5, 0.4, 0.4], [0.3, 0.3, 0.2, 0.2], [0.6, 0.6, 0.3, 0.3]]),
    }


@pytest.mark.parametrize("name", ["yolov8n.yaml", "yolov10n.yaml"])
def test_only_the_loss_of_the_classes_changes(name, ultralytics):
    model, rows = network(ultralytics, name), batch()
    state = copy.deepcopy(model.state_dict())
    theirs, _ = model(rows)
    model.load_state_dict(state)  # the averages of batch norm
    ours, _ = use_focal_loss(model, gamma=2.0, alpha=0.25)(rows)
    assert_close(ours[[0, 2]], theirs[[0, 2]])
    assert ours[1] < theirs[1] / 2
    ours[1].backward()
    assert sum(one.grad.abs().sum() for one in model.parameters() if one.grad is not None) > 0
    model.load_state_dict(state)
    plain, _ = use_focal_loss(model, gamma=0.0, alpha=None)(rows)
    assert_close(plain, theirs)


def test_half_precision(ultralytics):
    model = use_focal_loss(network(ultralytics, "yolov8n.yaml"))
    with torch.autocast("cpu", torch.bfloat16):
        losses, _ = model(batch())
    assert losses.isfinite().all()
    assert losses[1] > 0


def data_set(folder):
    import cv2

    for part in ("train", "val"):
        for kind in ("images", "labels"):
            (folder / kind / part).mkdir(parents=True)
        for k in range(2):
            picture = np.random.default_rng(k).integers(0, 255, (64, 64, 3), np.uint8)
            cv2.imwrite(str(folder / "images" / part / f"{k}.png"), picture)
            (folder / "labels" / part / f"{k}.txt").write_text("0 .5 .5 .4 .4\n1 .3 .3 .2 .2\n")
    page = folder / "data.yaml"
    page.write_text(f"path: {folder}\ntrain: images/train\nval: images/val\nnames: [a, b]\n")
    return str(page)


def test_what_is_trained(ultralytics, tmp_path):
    ultralytics.settings.update({"mlflow": False, "tensorboard": False})
    data, seen = data_set(tmp_path / "rows"), {}

    def look(trainer):
        networks = (trainer.model, trainer.ema.ema)
        criteria = [getattr(one, "criterion", None) for one in networks]
        seen["kinds"] = [type(getattr(one, "bce", None)).__name__ for one in criteria]

    def train(change):
        model = ultralytics.YOLO("yolov8n.yaml", task="detect", verbose=False)
        change(model)
        model.add_callback("on_train_epoch_end", look)
        model.train(
            data=data,
            epochs=1,
            imgsz=64,
            batch=2,
            workers=0,
            plots=False,
            amp=False,
            device="cpu",
            project=str(tmp_path / "runs"),
            verbose=False,
        )
        return seen["kinds"]

    def by_hand(model):
        model.model.args = ultralytics.utils.DEFAULT_CFG
        model.model.criterion = model.model.init_criterion()
        model.model.criterion.bce = SigmoidFocalLoss(reduction="none")

    # why the function exists: should train keep the criterion, it can go
    assert train(by_hand)[0] == "BCEWithLogitsLoss"
    assert train(use_focal_loss) == ["SigmoidFocalLoss", "SigmoidFocalLoss"]


def test_wrong_use():
    with pytest.raises(ValueError, match="normalizer must be left out, got 'positives'"):
        use_focal_loss(None, normalizer="positives")
    with pytest.raises(TypeError, match="have a criterion with a class loss, bce, got Linear"):
        use_focal_loss(torch.nn.Linear(1, 1))
