"""A plugin for `make test` where CI=true: a skipped test has failed, but for the list below.

What can be installed in continuous integration is installed there, Chromium included (.ci/run).

    CI=true make test
"""

import re

import pytest
from tests.no_skips import as_failure

# installed by `make test-hosts` alone, where nothing may be skipped: they need another torch
HEAVY = (
    "torchvision|timm|fastai|shap|ultralytics|mmengine|nnunetv2|opacus|pytorch_tabnet|monai"
    "|segmentation[-_]models[-_]pytorch|kornia|tensorflow|exacta"
    "|imbalanced[-_]losses|onnx|onnxscript|onnxruntime|tensorboard|mlflow"
)
ALLOWED = (
    rf"(No module named|could not import) '({HEAVY})\b",
    rf"\b({HEAVY}) is not installed",
    rf"pip install .*\b({HEAVY})",
    r"root writes anywhere",  # containers run as root
    r"there is a GPU to check",
    r"instructions were counted with Triton",  # another version, on a machine that is not x86
)


def judged(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr
        if any(re.search(one, reason) for one in ALLOWED):
            return report
    return as_failure(report)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return judged((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return judged((yield))
