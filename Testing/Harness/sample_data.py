"""The module `SampleData`: sources are recorded, and can be loaded if they are local."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import slicer

from .qt_module import StandInModule


def _as_list(value: Any, count: int) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value] * count


@dataclasses.dataclass(eq=False)
class SampleDataSource:
    """A data set; each list has one entry per file."""

    sampleName: str | None = None
    uris: Any = None
    fileNames: Any = None
    nodeNames: Any = None
    checksums: Any = None
    loadFiles: Any = None
    customDownloader: Callable[[Any], Any] | None = None
    thumbnailFileName: str | None = None
    loadFileTypes: Any = None
    loadFileProperties: Any = None
    sampleDescription: str | None = None

    def __post_init__(self) -> None:
        if self.uris is None and self.customDownloader is not None:
            self.uris = ""
        count = len(self.uris) if isinstance(self.uris, list | tuple) else 1
        lists = ("uris", "fileNames", "nodeNames", "checksums", "loadFiles", "loadFileTypes")
        for name in lists:
            setattr(self, name, _as_list(getattr(self, name), count))
        if any(len(getattr(self, name)) != count for name in lists):
            raise ValueError("All fields of sample data source must have the same length")
        self.loadFileProperties = dict(self.loadFileProperties or {})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SampleDataSource) and vars(self) == vars(other)

    __hash__ = None  # type: ignore[assignment]


class SampleDataLogic:
    """Registers and loads data sets."""

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str = "", **more: Any) -> None:
        titles = vars(slicer.modules).setdefault("sampleDataSourceCategories", {})
        titles[category] = {"title": title or category, **more}

    @staticmethod
    def registerCustomSampleDataSource(category: str = "Custom", **fields: Any) -> None:
        sources = SampleDataLogic.sampleDataSourcesByCategory()
        source = SampleDataSource(**fields)
        if source not in sources.setdefault(category, []):
            sources[category].append(source)

    @staticmethod
    def sampleDataSourcesByCategory(category: str | None = None) -> Any:
        sources = vars(slicer.modules).setdefault("sampleDataSources", {})
        return sources if category is None else sources.get(category, [])

    def sourceForSampleName(self, sampleName: str) -> SampleDataSource | None:
        every = (each for group in self.sampleDataSourcesByCategory().values() for each in group)
        return next((each for each in every if each.sampleName == sampleName), None)

    def downloadSample(self, sampleName: str) -> Any:
        return self.downloadSamples(sampleName)[0]

    def downloadSamples(self, sampleName: str) -> list[Any]:
        source = self.sourceForSampleName(sampleName)
        if source is None:
            raise ValueError(f"No sample data is named {sampleName}.")
        return self.downloadFromSource(source)

    def downloadFromSource(self, source: SampleDataSource) -> list[Any]:
        if source.customDownloader is not None:
            result = source.customDownloader(source)
            return result if isinstance(result, list) else [result]
        files = zip(
            source.uris,
            source.nodeNames,
            source.checksums,
            source.loadFiles,
            source.loadFileTypes,
            strict=True,
        )
        return [self._load(*each, source.loadFileProperties) for each in files]

    def _load(
        self, uri: str, name: Any, checksum: Any, load: Any, kind: Any, properties: dict[str, Any]
    ) -> Any:
        parts = urlparse(uri)
        path = Path(url2pathname(parts.path)) if parts.scheme in ("", "file") else None
        if path is None:
            raise RuntimeError(f"The harness loads nothing from the network: {uri}")
        if checksum:
            algorithm, _, digest = checksum.partition(":")
            if slicer.util.computeChecksum(algorithm, str(path)) != digest:
                raise ValueError(f"The checksum of {path} is not {checksum}.")
        if load is False:
            return str(path)
        more = {"name": name} if name else {}
        return slicer.util.loadNodeFromFile(str(path), kind, {**properties, **more})


def downloadSample(sampleName: str) -> Any:
    """Load a data set by name."""
    return SampleDataLogic().downloadSample(sampleName)


def downloadSamples(sampleName: str) -> list[Any]:
    """Load all files of a data set by name."""
    return SampleDataLogic().downloadSamples(sampleName)


def make_sample_data() -> StandInModule:
    """The module `SampleData`."""
    module = StandInModule("SampleData", "Sample data (a stand-in).")
    for each in (SampleDataSource, SampleDataLogic, downloadSample, downloadSamples):
        setattr(module, each.__name__, each)
    return module
