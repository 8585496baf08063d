"""The installation section, by real clicks: pip and the extension manager are recorded."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import subprocess
from pathlib import Path

import pytest

from Testing.Python.extension import panels

pytest.importorskip("slicer_core", reason="needs slicer-core, the scene of Slicer")
pytest.importorskip("PySide6", reason="needs PySide6, in place of Slicer's Qt")

QUESTION = "Python packages that 3D Slicer does not have"


class Computer:
    """A computer on which packages are missing until pip is asked for them; pip is recorded."""

    def __init__(self, harness, monkeypatch):
        import slicer

        self.packages = harness.packages
        self.manager = slicer.app.extensionsManagerModel()
        self.manager.clear()
        self.version, self.find = importlib.metadata.version, importlib.util.find_spec
        monkeypatch.setattr(importlib.metadata, "version", self.versionOf)
        monkeypatch.setattr(importlib.util, "find_spec", self.specOf)

    def versionOf(self, name):
        if name in self.packages.missing:
            raise importlib.metadata.PackageNotFoundError(name)
        return self.version(name)

    def specOf(self, name, *more):
        return None if name in self.packages.missing else self.find(name, *more)


@pytest.fixture
def computer(harness, monkeypatch):
    return Computer(harness, monkeypatch)


@pytest.fixture
def panel(computer, openPanel, monkeypatch):
    """The panel with its section open; its worker is its own, for it is ended."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    panel = openPanel(share=False)
    panel.ui.installationSection.collapsed = False
    panel.choose(*panels.smallCase(), model="none", count=1, seed=1)
    return panel


def lose(panel, *names):
    """Take packages away, and look."""
    panel.harness.packages.missing |= set(names)
    panel.click("checkButton")


def test_where_nothing_is_missing_nothing_can_be_installed(panel, computer):
    text = "All Python packages that DRDM needs are installed."
    assert panel.ui.installationLabel.text == text
    for button in (panel.ui.installButton, panel.ui.installOfflineButton):
        assert not button.enabled and button.toolTip == "Everything is installed."
    panel.click("checkButton")
    assert panel.ui.installationLabel.text == text
    assert panel.dialogs() == [] and computer.packages.installed == []


def test_what_is_missing_is_listed_and_nothing_happens_without_a_yes(panel, computer):
    lose(panel, "tqdm", "safetensors")
    lines = panel.ui.installationLabel.text.splitlines()
    todo = [line for line in lines if line.startswith("TO DO: ")]
    assert [line.split()[2] for line in todo[:2]] == ["safetensors", "tqdm"]
    assert any(line.startswith("ok: SimpleITK") for line in lines)
    panel.warmUp()
    for button in ("installButton", "generateButton"):
        panel.ui.installationSection.collapsed = True
        panel.answer("Cancel", QUESTION)
        panel.click(button)
        assert panel.ui.statusLabel.text.startswith("Nothing was installed.")
        assert not panel.ui.installationSection.collapsed
    text = panel.dialogs()[0]
    assert "- safetensors>=" in text and "- tqdm>=" in text and "torch" not in text
    assert computer.packages.installed == [] and not panel.main.generate.running
    assert panel.logic.client.running, "the worker is ended after a yes alone"


def test_after_a_yes_the_worker_is_ended_and_the_missing_are_installed(panel, computer):
    """On Windows a warm worker holds files open that pip replaces."""
    panel.warmUp()
    lose(panel, "tqdm", "safetensors")
    process, ended = panel.logic.client._process, []
    computer.packages.onInstall = lambda names: ended.append(process.hasExited())
    panel.answer("Ok", QUESTION)
    panel.click("installButton")
    assert ended == [True]
    assert [each.split(">=")[0] for each in computer.packages.installed] == ["safetensors", "tqdm"]
    assert panel.ui.installationLabel.text.startswith("All Python packages")
    assert not panel.ui.installButton.enabled
    # A new worker is asked again what there is, and computes.
    panel.wait(lambda: panel.logic.client.running)
    panel.click("generateButton")
    panel.finish()
    assert len(panel.samples()) == 1


def test_generate_asks_installs_and_goes_on(panel, computer):
    lose(panel, "tqdm")
    panel.answer("Ok", QUESTION)
    panel.click("generateButton")
    panel.finish()
    assert [each.split(">=")[0] for each in computer.packages.installed] == ["tqdm"]
    assert len(panel.samples()) == 1


def test_a_failure_of_pip_is_told(panel, computer):
    def fail(names):
        raise subprocess.CalledProcessError(1, "pip")

    lose(panel, "tqdm")
    computer.packages.onInstall = fail
    panel.answer("Ok", QUESTION)
    panel.click("installButton")
    assert "tqdm>=4.60 could not be installed" in panel.ui.statusLabel.text
    assert "check the network" in panel.ui.logTextEdit.plainText
    assert panel.ui.installButton.enabled and panel.ui.installationLabel.text.count("TO DO") >= 1


def test_installing_from_a_folder_of_wheels_downloads_nothing(panel, computer, tmp_path):
    folder = tmp_path / "my wheels"
    folder.mkdir()
    lose(panel, "tqdm", "torch")
    for answer in ("", folder):
        panel.answer(answer, "Folder of wheels")
        panel.click("installOfflineButton")
        assert computer.packages.installed == []
    assert "must hold the wheels (.whl files)" in panel.ui.statusLabel.text
    (folder / "tqdm-4.67.1-py3-none-any.whl").write_bytes(b"")
    panel.answer(folder, "Folder of wheels")
    panel.answer("Ok", "nothing is downloaded")
    panel.click("installOfflineButton")
    given = computer.packages.installed
    assert given[:4] == ["--no-index", "--find-links", str(folder), "--constraint"]
    assert not Path(given[4]).exists(), "the constraints are for this call alone"
    assert [each.split(">=")[0] for each in given[5:]] == ["torch", "tqdm"]
    assert computer.manager.asked == []
    assert panel.ui.installationLabel.text.startswith("All Python packages")


@pytest.mark.parametrize("sure", ["Ok", "Cancel"])
def test_torch_comes_with_its_extension_after_a_question_of_its_own(panel, computer, sure):
    lose(panel, "torch")
    panel.answer("Ok", QUESTION)
    panel.answer(sure, "Shall DRDM install the extension PyTorch now?")
    panel.click("installButton")
    assert computer.manager.asked == (["PyTorch"] if sure == "Ok" else [])
    told = "Restart Slicer" if sure == "Ok" else "PyTorch comes with the extension PyTorch"
    assert panel.ui.statusLabel.text.startswith(told)
    assert computer.packages.installed == []


def test_nothing_is_installed_while_something_is_computed(panel):
    panel.parameters.count = 500
    panel.click("generateButton")
    lose(panel, "tqdm")
    assert not panel.ui.installButton.enabled
    assert panel.ui.installButton.toolTip == "Samples are being made: wait, or cancel."
    panel.click("generateButton")
    panel.finish()
    assert panel.ui.installButton.enabled
