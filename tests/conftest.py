"""One cache of compiled graphs for the session, so that each network is exported once and nothing old is used."""

import os

import pytest


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    os.environ["RESNETFEA_CACHE"] = str(tmp_path_factory.mktemp("cache"))
