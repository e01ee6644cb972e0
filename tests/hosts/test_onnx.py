"""torch.export and ONNX: the exported graph gives the same numbers."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from refocal import SigmoidFocalLoss, SoftmaxFocalLoss

CASES = {
    "sigmoid": (SigmoidFocalLoss(), torch.randint(0, 2, (4, 3)).float()),
    "sigmoid, per class": (
        SigmoidFocalLoss(alpha=torch.tensor([0.2, 0.5, 0.9]), gamma=0.5, ignore_index=-1),
        torch.tensor([[1, 0, -1], [0, 0, 1], [1, 1, -1], [0, 1, 0]]),
    ),
    "softmax": (SoftmaxFocalLoss(gamma=2.5), torch.tensor([0, 2, -100, 1])),
    "softmax, probabilities": (
        SoftmaxFocalLoss(alpha=torch.tensor([1.0, 2.0, 0.5]), label_smoothing=0.1),
        torch.tensor([[1.0, 0, 0], [0, 0.5, 0.5], [0, 0, 1], [0.2, 0.3, 0.5]]),
    ),
}
LOGITS = torch.tensor([[3.0, -20.0, 0.0], [0.5, 1.0, -1.0], [25.0, 2.0, -7.0], [-3.0, 0.1, 0.2]])


class Network(nn.Module):
    """A network that is trained where it runs returns its loss."""

    def __init__(self, loss):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.loss = loss

    def forward(self, x, y):
        return self.loss(self.layer(x), y)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("case", CASES)
def test_exported_program_gives_the_same_numbers(case, strict):
    loss, y = CASES[case]
    rows = torch.export.Dim("rows", min=2)
    network = Network(loss)
    program = torch.export.export(
        network, (LOGITS, y), dynamic_shapes=({0: rows}, {0: rows}), strict=strict
    )
    exported = program.module()
    for count in (4, 3):
        got, expected = (one(LOGITS[:count], y[:count]) for one in (exported, network))
        assert_close(got, expected)
        assert_close(
            torch.autograd.grad(got, exported.layer.weight),
            torch.autograd.grad(expected, network.layer.weight),
        )


class Calibrated(nn.Module):
    """A network that ends in its loss's posterior."""

    def __init__(self, loss):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.loss = loss

    def forward(self, x):
        return self.loss.posterior(self.layer(x))


# alpha per class, too: a posterior takes each weight back
POSTERIORS = {
    "sigmoid": SigmoidFocalLoss(),
    "sigmoid, per class": SigmoidFocalLoss(alpha=torch.tensor([0.2, 0.5, 0.9]), gamma=0.5),
    "softmax": SoftmaxFocalLoss(gamma=2.5),
    "softmax, per class": SoftmaxFocalLoss(alpha=torch.tensor([1.0, 2.0, 0.5])),
}


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("case", POSTERIORS)
def test_exported_network_returns_the_posterior(case, strict):
    rows = torch.export.Dim("rows", min=2)
    network = Calibrated(POSTERIORS[case]).eval()
    program = torch.export.export(network, (LOGITS,), dynamic_shapes=({0: rows},), strict=strict)
    exported = program.module()
    for count in (4, 3):
        expected = network.loss.posterior(network.layer(LOGITS[:count]))
        assert_close(exported(LOGITS[:count]), expected)


# onnxscript and its export pass warn about their own use of torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("case", CASES)
def test_onnx_graph_gives_the_same_numbers(case, tmp_path):
    pytest.importorskip("onnxscript", reason="pip install onnx onnxscript onnxruntime")
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnx onnxscript onnxruntime")
    loss, y = CASES[case]
    path = tmp_path / "loss.onnx"
    torch.onnx.export(loss.eval(), (LOGITS, y), path, dynamo=True, verbose=False)
    session = runtime.InferenceSession(str(path))
    names = [one.name for one in session.get_inputs()]
    (got,) = session.run(None, dict(zip(names, (LOGITS.numpy(), y.numpy()), strict=True)))
    assert_close(torch.tensor(got), loss(LOGITS, y), rtol=1e-5, atol=1e-7)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("case", POSTERIORS)
def test_onnx_network_returns_the_posterior(case, tmp_path):
    pytest.importorskip("onnxscript", reason="pip install onnx onnxscript onnxruntime")
    runtime = pytest.importorskip("onnxruntime", reason="pip install onnx onnxscript onnxruntime")
    network = Calibrated(POSTERIORS[case]).eval()
    path = tmp_path / "network.onnx"
    torch.onnx.export(network, (LOGITS,), path, dynamo=True, verbose=False)
    session = runtime.InferenceSession(str(path))
    (name,) = (one.name for one in session.get_inputs())
    (got,) = session.run(None, {name: LOGITS.numpy()})
    assert_close(torch.tensor(got), network(LOGITS).detach(), rtol=1e-5, atol=1e-7)
