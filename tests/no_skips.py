"""A plugin for `make test-hosts`: a test that is skipped has failed.

There every host is installed, so a skip would only hide that one stopped being found.

    python -m pytest -p tests.no_skips tests/hosts
"""

import pytest


def as_failure(report):
    if report.skipped and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr
        report.outcome = "failed"
        report.longrepr = f"skipped, where nothing may be: {reason}"
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    return as_failure((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report():
    return as_failure((yield))
