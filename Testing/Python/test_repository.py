"""The repository around the code: what people and catalogues expect to find."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

import DRDMCore

REPOSITORY = Path(__file__).resolve().parents[2]
DOI = "10.1016/j.media.2026.103987"
MAX_FILE_BYTES = 6_200_000

REQUIRED = """
    .ci/run CHANGELOG.md CITATION.cff CMakeLists.txt CONTRIBUTING.md DRDM.s4ext LICENSE.txt Makefile
    README.md constraints.txt pyproject.toml docs/architecture.md docs/conventions.md
    docs/decisions.md DRDMCore/__init__.py DRDMExtension/README.md Resources/README.md
    Testing/README.md Resources/Configurations/config_cmr.yaml
    Resources/Configurations/config_lct.yaml
""".split()

# Folders of somebody's own machine; `(?:` keeps this line from matching itself.
MACHINE_PATH = re.compile(
    r"(?<![\w.~-])/(?:work|root|(?:home|Users)/\w+|opt/(?:wheels|pypi[\w-]*))/|\b[A-Z]:\\Users\\"
)


def leaves_encoding_open(call: ast.Call) -> bool:
    """Whether a call reads or writes text in whatever encoding the machine has."""
    keywords = {each.arg: each.value for each in call.keywords}
    if "encoding" in keywords:
        return False
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = keywords.get("mode", call.args[1] if len(call.args) > 1 else None)
    mode = given.value if isinstance(given, ast.Constant) else "r"
    return (
        (name == "read_text" and not call.args)
        or (name == "write_text" and len(call.args) == 1)
        or (isinstance(call.func, ast.Name) and name == "open" and "b" not in mode)
        or getattr(keywords.get("text"), "value", False) is True
    )


def read(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def files() -> list[Path]:
    """Every file that is tracked, or would be."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listing = subprocess.run(command, cwd=REPOSITORY, capture_output=True, check=True)
    except (FileNotFoundError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout: the list of files is unknown")
    paths = [REPOSITORY / name for name in listing.stdout.decode().split("\0") if name]
    return [path for path in paths if path.is_file()]


@pytest.mark.parametrize("name", REQUIRED)
def test_required_file_exists(name):
    assert (REPOSITORY / name).is_file()


def test_versions_agree():
    (version,) = re.findall(r'^version = "(.+)"$', read("pyproject.toml"), flags=re.MULTILINE)
    assert version == DRDMCore.__version__
    assert yaml.safe_load(read("CITATION.cff"))["version"] == version
    assert f"## [{version}]" in read("CHANGELOG.md")


def test_citation_names_the_paper():
    citation = yaml.safe_load(read("CITATION.cff"))
    paper = citation["preferred-citation"]
    assert paper["doi"] == DOI
    assert paper["authors"][0]["family-names"] == "Zheng"
    assert citation["license"] == "Apache-2.0"


def test_licence_is_complete():
    licence = read("LICENSE.txt")
    assert "Version 2.0, January 2004" in licence
    assert all(f"\n   {clause}. " in licence for clause in range(1, 10))
    assert "END OF TERMS AND CONDITIONS" in licence


def test_extension_can_be_read_by_the_index():
    cmake = read("CMakeLists.txt")
    assert re.search(r"project\((\w+)", cmake).group(1) == "DRDM"
    for key, value in re.findall(r"set\((EXTENSION_\w+)\s+(.*)\)", cmake):
        assert re.fullmatch(r'"[^"$]+"', value), f"{key} must be a quoted text without variables"
    for key in ("ICONURL", "SCREENSHOTURLS"):
        for url in re.findall(rf'set\(EXTENSION_{key} "(.*)"\)', cmake):
            assert all(part.startswith("https://") for part in url.split())


@pytest.mark.parametrize("name", ["cmr", "lct"])
def test_configuration_equals_the_published_one(name, shared_reference):
    ours = yaml.safe_load(read(f"Resources/Configurations/config_{name}.yaml"))
    published = (shared_reference / f"config_{name}.yaml").read_text(encoding="utf-8")
    assert ours == yaml.safe_load(published)


def test_no_large_file(files):
    large = [str(path) for path in files if path.stat().st_size > MAX_FILE_BYTES]
    assert not large, f"larger than {MAX_FILE_BYTES} bytes: {large}"


def test_text_has_an_encoding(files):
    """Without one it is the machine's, which a library may change at any time."""
    offences = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}"
        for path in files
        if path.suffix == ".py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and leaves_encoding_open(node)
    ]
    assert not offences, 'say `encoding="utf-8"`: ' + ", ".join(offences)


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("path.read_text()", True),
        ("path.write_text('a')", True),
        ("open(path, 'w')", True),
        ("run(command, text=True)", True),
        ("path.read_text(encoding='utf-8')", False),
        ("open(path, 'rb')", False),
        ("Image.open(path)", False),
        ("run(command)", False),
    ],
)
def test_text_without_encoding_is_found(code, found):
    assert leaves_encoding_open(ast.parse(code, mode="eval").body) == found


def test_no_machine_path(files):
    offences = []
    for path in files:
        content = path.read_bytes()
        if b"\0" in content:
            continue
        for number, line in enumerate(content.decode("utf-8", "replace").splitlines(), start=1):
            if MACHINE_PATH.search(line):
                offences.append(f"{path.relative_to(REPOSITORY)}:{number}: {line.strip()[:100]}")
    assert not offences, "\n" + "\n".join(offences)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("/".join(["see ", "work", "shared"]), True),
        ("/".join(["'", "home", "someone", "data'"]), True),
        ("\\".join(["C:", "Users", "someone"]), True),
        ("https://example.org/work/shared", False),
        ("the frame/work/place", False),
        ("Testing/Python/home/work.py", False),
    ],
)
def test_machine_path_pattern(line, found):
    assert bool(MACHINE_PATH.search(line)) == found
