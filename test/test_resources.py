from __future__ import annotations

from pathlib import Path

import pytest

from derain_ros import resources


def test_a_checkout_uses_its_own_directories(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = _package(monkeypatch, tmp_path)
    assert resources.model_dir() == package.parent / "models"
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "fastdds.xml").touch()
    assert resources.default_file("fastdds.xml") == tmp_path / "config" / "fastdds.xml"


def test_an_installed_package_uses_what_it_carries(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = _package(monkeypatch, tmp_path)
    for directory in ("models", "defaults"):
        (package / directory).mkdir()
    (package / "defaults" / "derain.yaml").touch()
    assert resources.model_dir() == package / "models"
    assert resources.default_file("derain.yaml") == package / "defaults" / "derain.yaml"


def test_a_symlinked_package_leads_to_its_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "source" / "derain_ros").mkdir(parents=True)
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "derain_ros").symlink_to(tmp_path / "source" / "derain_ros")
    monkeypatch.setattr(resources, "files", lambda name: tmp_path / "build" / name)
    assert resources.model_dir() == tmp_path / "source" / "models"


def test_an_unknown_file_is_answered_with_those_there_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = _package(monkeypatch, tmp_path)
    (package / "defaults").mkdir()
    (package / "defaults" / "derain.yaml").touch()
    with pytest.raises(FileNotFoundError, match=r"nothing\.yaml: no such default file; there is derain\.yaml"):
        resources.default_file("nothing.yaml")


def _package(monkeypatch: pytest.MonkeyPatch, root: Path) -> Path:
    package = root / "derain_ros"
    package.mkdir()
    monkeypatch.setattr(resources, "files", lambda name: root / name)
    return package
